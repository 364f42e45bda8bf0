"""What a notebook shows and asks: figures, widgets, source code, checks and quizzes.

Importing this package is cheap; `plots`, `widgets`, `quiz` and `checks` load what they need.
"""

from labkit.lab.source import show_source

__all__ = ["checks", "doctor", "plots", "quiz", "show_source", "widgets"]
