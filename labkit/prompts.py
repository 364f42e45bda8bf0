"""What `labkit sample` asks a system for: the labels or sentences of its command line.

It imports no torch by itself, so that the command's help comes at once.
"""

from __future__ import annotations

import unicodedata


def prompts_for(system, name: str, number: int, labels: tuple, sentences: tuple) -> list | int:
    """What `system.generate` is asked for: that many pictures, of the labels or sentences in turn.
    ValueError for what the system does not hear."""
    hears = system.hears
    if labels and hears != "classes":
        raise ValueError(f"{name} hears {hears or 'no condition'}: leave out --label")
    if sentences and hears != "sentences":
        raise ValueError(f"{name} hears {hears or 'no condition'}: leave out --prompt")
    if hears == "sentences" and not sentences:
        raise ValueError(f'{name} hears sentences: give one, such as --prompt "a large red star"')
    if not all(sentence.strip() for sentence in sentences):
        raise ValueError('a --prompt is empty: give words, such as --prompt "a large red star"')
    chosen = [numbered(label, system) for label in labels] or list(sentences)
    if len(chosen) > number:
        raise ValueError(f"{len(chosen)} conditions need as many pictures: raise --number {number}")
    if hears == "classes" and not chosen:
        chosen = range(system.classes)
    return [chosen[row % len(chosen)] for row in range(number)] if chosen else number


def numbered(label: str, system) -> int:
    """The number of a class that is given by its name or number. Where a name is a number, only
    names count. ValueError for neither."""
    from labkit.inputs import nearest

    names = [unicodedata.normalize("NFC", name) for name in getattr(system, "names", ())]
    label = unicodedata.normalize("NFC", label)
    if label in names:
        return names.index(label)
    if any(name.isdecimal() for name in names) or not label.isdecimal():
        raise nearest(label, names or map(str, range(system.classes)), "class")
    return int(label)
