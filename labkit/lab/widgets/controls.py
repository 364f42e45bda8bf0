"""Sliders, menus and boxes from plain Python values."""

from numbers import Real

import ipywidgets

_LAYOUT, _STYLE = {"width": "460px"}, {"description_width": "110px"}


def control(name: str, given, start=None) -> ipywidgets.Widget:
    """An input for the parameter `name`.

    given: (low, high) or (low, high, step) numbers for a slider, a list for a menu, a dict from
    labels to values for a menu, a bool for a box to tick, or any ipywidget with a `value`; one
    without a description gets the name and the size of the others.
    start: the first value; the middle of a slider or the head of a menu by default.
    Raises ValueError for anything else.
    """
    label = name.replace("_", " ")
    shared = {"description": label, "style": dict(_STYLE), "layout": dict(_LAYOUT)}
    if isinstance(given, ipywidgets.Widget) and hasattr(given, "value"):
        if getattr(given, "description", None) == "":  # not dressed yet: as its neighbors are
            given.description, given.style, given.layout = shared.values()
        return given
    if isinstance(given, bool):
        return ipywidgets.Checkbox(given if start is None else start, indent=True, **shared)
    if isinstance(given, (list, dict)) and given:
        options = [(str(item), item) for item in given] if isinstance(given, list) else given
        values = given if isinstance(given, list) else list(given.values())
        return ipywidgets.Dropdown(
            options=options, value=values[0] if start is None else start, **shared
        )
    if _is_range(given):
        low, high, *step = given
        whole = all(isinstance(number, int) for number in given)
        step = step[0] if step else (1 if whole else (high - low) / 100)
        middle = low + round((high - low) / 2 / step) * step
        kind = ipywidgets.IntSlider if whole else ipywidgets.FloatSlider
        shared |= {} if whole else {"readout_format": _digits(step)}
        return kind(
            value=middle if start is None else start,
            min=low, max=high, step=step, continuous_update=True, **shared,
        )  # fmt: skip
    raise ValueError(
        f"The control {name!r} is {given!r}; give (low, high) or (low, high, step), a list, "
        "a dict, a bool, or an ipywidget."
    )


def _is_range(given) -> bool:
    return (
        isinstance(given, tuple)
        and len(given) in (2, 3)
        and all(isinstance(n, Real) and not isinstance(n, bool) for n in given)
        and given[0] < given[1]
        and (len(given) == 2 or 0 < given[2] <= given[1] - given[0])
    )


def _digits(step: float) -> str:
    text = f"{step:.6f}".rstrip("0")
    return f".{min(4, len(text.split('.')[1]))}f"
