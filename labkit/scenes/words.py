"""The words of the captions: what each of them stands for, and which word comes how often."""

from __future__ import annotations

# For every idea its words, the plain one first: it is written as often as all others together.
COLOR_WORDS = {
    "red": ("red", "crimson", "scarlet"), "orange": ("orange", "tangerine"),
    "yellow": ("yellow", "golden", "lemon"), "green": ("green", "emerald"),
    "blue": ("blue", "azure"), "purple": ("purple", "violet"),
    "pink": ("pink", "rosy"), "brown": ("brown", "chocolate", "chestnut"),
}  # fmt: skip
SIZE_WORDS = {"small": ("small", "little", "tiny"), "large": ("large", "big", "huge")}
FILL_WORDS = {
    "plain": ("plain", "solid"), "striped": ("striped", "stripy"),
    "dotted": ("dotted", "spotted", "speckled"), "outlined": ("outlined", "hollow"),
}  # fmt: skip
FILL_ENDINGS = {"striped": "with stripes", "dotted": "with dots"}  # "a star with stripes"
NOUNS = {  # singular and plural
    "circle": (("circle", "circles"), ("disc", "discs")),
    "square": (("square", "squares"), ("box", "boxes")),
    "triangle": (("triangle", "triangles"),),
    "diamond": (("diamond", "diamonds"), ("rhombus", "rhombuses")),
    "star": (("star", "stars"),),
    "heart": (("heart", "hearts"),),
    "cross": (("cross", "crosses"), ("plus", "pluses")),
    "moon": (("moon", "moons"), ("crescent", "crescents")),
}
ANY = (("shape", "shapes"), ("object", "objects"), ("thing", "things"))  # a noun that says nothing

NUMBERS = {1: ("one", "a single"), 2: ("two", "a pair of"), 3: ("three", "a trio of")}
RELATION_WORDS = {
    "left of": ("left of", "to the left of"), "right of": ("right of", "to the right of"),
    "above": ("above", "over"), "below": ("below", "under", "beneath"),
    "inside": ("inside", "within"), "around": ("around", "surrounding"),
}  # fmt: skip
BESIDE = ("next to", "beside", "near")  # says only that there is also something else
BACKGROUND_WORDS = {
    "sand": ("sand", "beige"), "sky": ("sky", "pale blue"), "mint": ("mint", "pale green"),
    "rose": ("rose", "pale pink"), "lilac": ("lilac", "lavender"), "gray": ("gray", "silver"),
}  # fmt: skip
PLACE_WORDS = {  # (row, column); None: not said
    ("top", "left"): ("in the top left", "in the upper left corner"),
    ("top", "right"): ("in the top right", "in the upper right corner"),
    ("bottom", "left"): ("in the bottom left", "in the lower left corner"),
    ("bottom", "right"): ("in the bottom right", "in the lower right corner"),
    ("middle", "middle"): ("in the middle", "in the center"),
    ("top", None): ("at the top",), ("bottom", None): ("at the bottom",),
    (None, "left"): ("on the left", "on the left side"),
    (None, "right"): ("on the right", "on the right side"),
}  # fmt: skip
OPENINGS = ("a picture of", "an image of", "a drawing of", "you can see", "here we have")
