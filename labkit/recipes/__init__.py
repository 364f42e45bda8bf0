"""Recipes: what is built, what it is shown, for how long. Each makes one system of the zoo.

A recipe is data. Training it again with the same seed on the same machine gives the shipped
weights again (`labkit.zoo`).
"""

from labkit.recipes import dalle2, digits, glide, imagen, ldm, mmca, photos, scenes
from labkit.recipes.recipe import Recipe

RECIPES = (
    digits.RECIPES
    | photos.RECIPES
    | scenes.RECIPES
    | glide.RECIPES
    | dalle2.RECIPES
    | mmca.RECIPES
    | imagen.RECIPES
    | ldm.RECIPES
)

__all__ = ["RECIPES", "Recipe"]
