"""A device that is pretended: tensors on it hold their values on the CPU, and may not meet tensors of the CPU.

Nothing here needs a GPU, and what is computed is computed: branches on values, L-BFGS and `nonzero` run as they would
on a GPU. `torch._subclasses.FakeTensorMode` has no values, so most of fitting could not run under it.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

DEVICE = torch.device("meta")
"""The one device beside the CPU that every build of torch can allocate on and differentiate on without a driver."""

_COPIES = frozenset({torch.ops.aten.copy_.default, torch.ops.aten._to_copy.default})
"""Operations that may read one device and write another."""

_INDEXED = frozenset(
    {
        torch.ops.aten.index.Tensor,
        torch.ops.aten.index_put.default,
        torch.ops.aten.index_put_.default,
        torch.ops.aten._index_put_impl_.default,
    }
)
"""Operations whose second argument, the indices, may be on the CPU."""


class MixedDevicesError(RuntimeError):
    """An operation read tensors of two devices; on a GPU it fails."""


class DeviceTensor(torch.Tensor):
    """A tensor of the pretended device."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor) -> "DeviceTensor":
        tensor = torch.Tensor._make_wrapper_subclass(
            cls,
            held.size(),
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            layout=held.layout,
            device=held.device,
            requires_grad=held.requires_grad,
            dispatch_device=True,
        )
        tensor.held = held
        return tensor

    def tolist(self) -> list[Any]:
        """Give the values, as a tensor of a GPU does; torch refuses it for subclasses."""
        return self.held.tolist()

    def numpy(self, *, force: bool = False) -> Any:
        """Give the values as an array only if told to fetch them from the device."""
        if not force:
            raise MixedDevicesError("numpy() reads memory of the CPU; call cpu() first, or give force=True")
        return self.held.detach().numpy()

    __torch_function__ = torch._C._disabled_torch_function_impl

    def __repr__(self) -> str:
        return f"DeviceTensor({self.held})"

    @classmethod
    def __torch_dispatch__(cls, operation, types, args=(), kwargs=None):
        return _compute(operation, args, kwargs or {})


class _Factories(TorchDispatchMode):
    """Puts what is made on the pretended device there."""

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        return _compute(operation, args, kwargs or {})


class _Literals(TorchFunctionMode):
    """Fills `torch.tensor` on the CPU and moves it: torch itself leaves one on "meta" without values."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        if function not in (torch.tensor, torch.as_tensor) or kwargs.get("device") is None:
            return function(*args, **kwargs)
        device = kwargs.pop("device")
        return function(*args, **kwargs).to(device)


@contextmanager
def pretended_device() -> Iterator[torch.device]:
    """Make the device known to torch within the block."""
    before = torch.__future__.get_overwrite_module_params_on_conversion()
    torch.__future__.set_overwrite_module_params_on_conversion(True)  # a parameter cannot turn into one of another kind
    try:
        with _Literals(), _Factories():
            yield DEVICE
    finally:
        torch.__future__.set_overwrite_module_params_on_conversion(before)


def _compute(operation: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    if operation is torch.ops.prim.device.default:
        return DEVICE
    if torch._C._dispatch_has_kernel_for_dispatch_key(operation.name(), "CompositeImplicitAutograd"):
        with _Factories():  # in inference mode torch leaves it to us to take an operation apart
            return operation.decompose(*args, **kwargs)
    tensors = [each for each in tree_flatten((args, kwargs))[0] if isinstance(each, Tensor)]
    is_there = [isinstance(each, DeviceTensor) for each in tensors]
    if any(is_there):
        _check(operation, args, tensors)
    wanted = kwargs.get("device")
    if wanted is not None:
        kwargs = {**kwargs, "device": torch.device("cpu")}
    goes_there = any(is_there) if wanted is None else torch.device(wanted).type == DEVICE.type
    if operation is torch.ops.aten.copy_.default:
        goes_there = is_there[0]
    held_args, held_kwargs = tree_map(_hold, (args, kwargs))
    result = operation(*held_args, **held_kwargs)
    if not goes_there:
        return result
    known = {
        id(each.held): each for each in tensors if isinstance(each, DeviceTensor)
    }  # changed in place, and returned
    return tree_map(lambda each: known.get(id(each), DeviceTensor(each)) if isinstance(each, Tensor) else each, result)


def _hold(each: Any) -> Any:
    return each.held if isinstance(each, DeviceTensor) else each


def _check(operation: Any, args: Sequence[Any], tensors: Sequence[Tensor]) -> None:
    """Refuse what a GPU refuses: tensors of the CPU with an axis, but for copies and indices."""
    allowed = list(tensors) if operation in _COPIES else []
    if operation in _INDEXED and isinstance(args[0], DeviceTensor):
        allowed += [each for each in args[1] if each is not None]
    for each in tensors:
        is_allowed = each.ndim == 0 or isinstance(each, DeviceTensor) or any(each is other for other in allowed)
        if not is_allowed:
            raise MixedDevicesError(f"{operation} reads a tensor of the CPU, of shape {list(each.shape)}")
