"""Compare what a learner's function returns with what it should return, in plain sentences."""

import math
from numbers import Number

import numpy as np
import torch

SINGLE = 1e-4  # what a long computation in float32 is off by, at most


def describe(value) -> str:
    """A value in a few words: its kind, and its shape where it has one."""
    if value is ...:
        return "`...`"
    if isinstance(value, torch.Tensor) and not value.is_nested:
        return f"a tensor of shape {tuple(value.shape)}"
    if isinstance(value, np.ndarray):
        return f"a NumPy array of shape {value.shape}"
    if isinstance(value, (tuple, list)):
        return f"a {type(value).__name__} of {len(value)}"
    if value is None or isinstance(value, (Number, str)):
        return repr(value)
    return f"a {type(value).__name__}"


def is_unfinished(value) -> bool:
    """Whether a value is what a stub returns: None, `...`, or a tuple of nothing else."""
    if isinstance(value, tuple) and value:
        return all(item is None or item is ... for item in value)
    return value is None or value is ...


def shape_problem(expected, got, part: str = "") -> str | None:
    """What keeps two values from being compared number by number, in a sentence, or None."""
    where = f"in {part}, " if part else ""
    if isinstance(expected, dict):
        if not isinstance(got, dict) or set(got) != set(expected):
            keys = ", ".join(map(repr, expected))
            return f"Your function returns {describe(got)}; {where}it should be a dict of {keys}."
        return first(shape_problem(expected[k], got[k], f"entry {k!r}") for k in expected)
    if isinstance(expected, (tuple, list)):
        got = list(got) if isinstance(got, range) else got
        if not isinstance(got, (tuple, list)):
            return (
                f"Your function returns {describe(got)}; {where}it should be {describe(expected)}."
            )
        if len(got) != len(expected):
            return (
                f"Your function returns {describe(got)}; {where}there should be {len(expected)} "
                f"values{_field_names(expected)}."
            )
        pairs = enumerate(zip(expected, got, strict=True), 1)
        return first(shape_problem(a, b, f"value {i}") for i, (a, b) in pairs)
    if isinstance(expected, (str, bool)):
        return None
    if isinstance(got, (str, tuple, list, dict)) or got is None or got is ...:
        return f"Your function returns {describe(got)}; {where}it should be {describe(expected)}."
    try:
        shape, wanted = np.shape(array(got)), np.shape(array(expected))
    except (TypeError, ValueError, RuntimeError, NotImplementedError):
        if isinstance(got, torch.Tensor):
            return (
                f"Your function returns a tensor on the device {got.device}; {where}keep it on the "
                "device of its inputs."
            )
        return f"Your function returns {describe(got)}; {where}it should be {describe(expected)}."
    if shape != wanted:
        return (
            f"Your function returns {describe(got)}; {where}the shape should be {wanted}."
            if wanted
            else f"Your function returns {describe(got)}; {where}it should be a single number."
        )
    return None


def kind_problem(expected, got, part: str = "") -> str | None:
    """A right value of the wrong kind (not a tensor, dtype, device), in a sentence, or None."""
    where = f"in {part}, " if part else ""
    if isinstance(expected, dict):
        return first(kind_problem(expected[k], got[k], f"entry {k!r}") for k in expected)
    if isinstance(expected, (tuple, list)):
        pairs = enumerate(zip(expected, got, strict=True), 1)
        return first(kind_problem(a, b, f"value {i}") for i, (a, b) in pairs)
    if isinstance(expected, int) and not isinstance(expected, bool):
        if not isinstance(got, torch.Tensor):
            got = torch.as_tensor(got)
        if got.dtype.is_floating_point:
            return (
                f"Your function returns {got.item()}; {where}it should be a whole number, an int."
            )
    if not isinstance(expected, torch.Tensor):
        return None
    if not isinstance(got, torch.Tensor):
        if expected.ndim == 0 and isinstance(got, (Number, np.number)):
            return None
        return f"Your function returns {describe(got)}; {where}it should be a torch.Tensor."
    if got.device != expected.device:
        return (
            f"Your function returns a tensor on the device {got.device}; {where}it should stay on "
            f"{expected.device}, where its inputs are."
        )
    if got.dtype != expected.dtype:
        return (
            f"Your function returns {got.dtype}; {where}it should be {expected.dtype}, "
            "the dtype that the inputs ask for."
        )
    return None


def difference(expected, got, zeros: bool = True) -> float:
    """The largest |expected - got| / (1 + |expected|); infinity where they cannot agree. Without
    `zeros`, numbers that should be 0 do not count."""
    if isinstance(expected, dict):
        return max((difference(expected[k], got[k], zeros) for k in expected), default=0.0)
    if isinstance(expected, (tuple, list)):
        pairs = zip(expected, got, strict=True)
        return max((difference(a, b, zeros) for a, b in pairs), default=0.0)
    if isinstance(expected, (str, bool)):
        try:
            return 0.0 if bool(expected == got) else math.inf
        except (ValueError, RuntimeError):
            return math.inf
    a, b = array(expected), array(got)
    if a.size == 0:
        return 0.0
    with np.errstate(invalid="ignore", over="ignore"):
        gap = np.abs(a - b) / (1 + np.abs(a))
    right = (a == b) | (np.isnan(a) & np.isnan(b))
    gap = np.where(right if zeros else right | (a == 0), 0.0, gap)
    return float(np.nan_to_num(gap, nan=np.inf).max())


def value_problem(expected, got, tolerance: float, part: str = "") -> str:
    """Where and by how much two values of one shape differ."""
    if isinstance(expected, (tuple, list, dict)):
        keys = list(expected) if isinstance(expected, dict) else range(len(expected))
        gaps = {key: difference(expected[key], got[key]) for key in keys}
        key = max(gaps, key=gaps.get)
        part = f"entry {key!r}" if isinstance(expected, dict) else f"value {key + 1}"
        return value_problem(expected[key], got[key], tolerance, part)
    where = f" in {part}" if part else ""
    if isinstance(expected, (str, bool)):
        return f"Your function returns {describe(got)}{where} where {expected!r} is right."
    a, b = array(expected), array(got)
    broken = int((~np.isfinite(b) & np.isfinite(a)).sum())
    if broken:
        return (
            f"{broken} of {b.size} numbers{where} are nan or infinite; look for a division by 0, "
            "or the root or logarithm of a negative number."
        )
    if isinstance(expected, int):  # a whole number is right or wrong
        which = part[:1].upper() + part[1:] if part else "Your number"
        return f"{which} is {b.item():.10g}, not {expected}."
    gap = np.abs(a - b) / (1 + np.abs(a))
    index = np.unravel_index(gap.argmax(), gap.shape) if gap.ndim else ()
    at = f" at [{', '.join(map(str, index))}]" if index else ""
    return (
        f"{int((gap > tolerance).sum())} of {gap.size} numbers{where} differ by more than "
        f"{tolerance:.0e}; the most{at}: yours {b[index]:.6g}, right {a[index]:.6g}."
    )


def array(value) -> np.ndarray:
    """A number, array or tensor as NumPy's float or complex; raises TypeError for anything else."""
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu().resolve_conj().numpy()
    array = np.asarray(value)
    if array.dtype.kind not in "biufc":
        raise TypeError(f"{type(value).__name__} is not made of numbers")
    return array.astype(complex if array.dtype.kind == "c" else float)


def is_double(value) -> bool:
    """Whether a result is one of double precision: float64 tensors or plain numbers."""
    if isinstance(value, (tuple, list)):
        return all(map(is_double, value))
    return value.dtype == torch.float64 if isinstance(value, torch.Tensor) else True


def in_double(case):
    """Arguments whose float32 tensors are float64."""
    if isinstance(case, torch.Tensor) and case.dtype == torch.float32:
        return case.detach().double().requires_grad_(case.requires_grad)
    if isinstance(case, dict):
        return {key: in_double(value) for key, value in case.items()}
    return type(case)(map(in_double, case)) if type(case) in (list, tuple) else case


def _field_names(value) -> str:
    fields = getattr(value, "_fields", None)
    return f" ({', '.join(fields)})" if fields else ""


def first(problems) -> str | None:
    """The first of these sentences that is one."""
    return next(filter(None, problems), None)
