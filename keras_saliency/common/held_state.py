"""The state that objects hold in Python, and the functions that put it back."""

import contextlib
import functools
import inspect
import random
import sys
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from functools import partial
from types import BuiltinMethodType, CellType, FunctionType, MethodType
from typing import Any

import numpy as np

Undo = Callable[[], None]
Handler = Callable[
    [Any, list[Undo]], Iterable[Any]
]  # notes how to put a value back, gives its parts

_LARGE = 2**24  # bytes; a larger array is taken for a constant, as is what comes
_IN_ALL = 2**28  # behind so many bytes,
_MOST = 100_000  # or so many objects
_REQUEST = "stop_training"  # of a model: a signal, or another thread, may ask for it at any time
# Modules of Python whose classes have attributes that only those who use them change.
_HOLDERS = {"types", "argparse", "abc", "typing", "enum", "collections", "builtins"}
_PYTHON = sys.stdlib_module_names - _HOLDERS


class StateWalker:
    """Walks through what objects hold: attributes, collections, arrays, random generators.

    Args:
        libraries: Packages whose objects are not entered.
        with_variables: Whether the variables that layers of Keras do not train are state as well.

    Example:
        >>> class Counts:
        ...     count = 0
        >>> counts, rng = Counts(), np.random.default_rng(0)
        >>> undo = StateWalker().remember([{"helper": counts, "generators": [rng]}])
        >>> counts.count, _ = 7, rng.random()
        >>> put_back(undo)
        >>> counts.count, rng.random() == np.random.default_rng(0).random()
        (0, True)
    """

    def __init__(self, libraries: Iterable[str] = (), *, with_variables: bool = False) -> None:
        self._libraries, self._with_variables = frozenset(libraries), with_variables

    def remember(self, roots: Iterable[Any]) -> list[Undo]:
        """Note the state of objects, and of what they hold, nearest first.

        Args:
            roots: The objects; dicts among them, such as `vars(layer)`, are always entered.

        Returns:
            Functions that put it back.
        """
        undo: list[Undo] = []
        handlers: dict[type, Handler | None] = {}
        visited: dict[int, Any] = {}  # which are held, so that no other takes their identity
        waiting, room = deque(roots), _IN_ALL
        while waiting and len(visited) < _MOST:
            value = waiting.popleft()
            kind = type(value)
            if kind not in handlers:
                handlers[kind] = self._handler(kind)
            if (handler := handlers[kind]) is None or id(value) in visited:
                continue
            visited[id(value)] = value
            if handler in (_array, _torch_tensor):
                room -= value.nbytes if value.nbytes <= _LARGE else 0
                if room < 0:
                    continue
            try:
                waiting.extend(handler(value, undo))
            except Exception:  # What can't be read can't be put back.
                continue
        return undo

    def is_state(self, value: Any) -> bool:
        """Whether a value other than a collection or an array is state, or holds some."""
        return not isinstance(value, (*_COLLECTIONS, np.ndarray)) and bool(self.remember([value]))

    def _handler(self, kind: type) -> Handler | None:
        for kinds, handler in (*_KINDS, *_library_kinds(self._with_variables)):
            if issubclass(kind, kinds):
                return handler
        if issubclass(kind, FunctionType):
            return self._function
        return _instance if self._is_entered(kind) else None

    def _is_entered(self, kind: type) -> bool:
        """Whether objects of a kind are the user's, and no threads, queues or files of Python."""
        own, *bases = [str(base.__module__).partition(".")[0] for base in kind.__mro__]
        is_foreign = own == "builtins" or own in self._libraries or issubclass(kind, type)
        return not is_foreign and _PYTHON.isdisjoint((own, *bases))

    def _function(self, function: FunctionType, _: list[Undo]) -> Iterable[Any]:
        if (function.__module__ or "").partition(".")[0] in self._libraries:
            return ()
        defaults = function.__defaults__ or (), function.__kwdefaults__ or {}
        return [*(function.__closure__ or ()), *filter(None, (*defaults, vars(function)))]


def put_back(undo: Iterable[Undo]) -> None:
    """Put back what was noted: all of it, also where a part fails, which is raised at the end."""
    failed: Exception | None = None
    for step in undo:
        try:
            step()
        except Exception as error:
            failed = error
    if failed is not None:
        raise failed


def _array(array: np.ndarray, undo: list[Undo]) -> Iterable[Any]:
    if array.flags.writeable and array.nbytes <= _LARGE:
        undo.append(partial(np.copyto, array, array.copy()))
    return ()


# Past Keras's own lists and dicts, which note what is added: nothing in them is new.


def _dict(value: dict[Any, Any], undo: list[Undo]) -> Iterable[Any]:
    held = dict(value)
    undo.append(partial(_put_back_dict, value, held))
    return held.values()


def _list(value: list[Any], undo: list[Undo]) -> Iterable[Any]:
    held = list(value)
    undo.append(partial(list.__setitem__, value, slice(None), held))
    return held


def _set(value: set[Any], undo: list[Undo]) -> Iterable[Any]:
    held = set(value)
    undo.append(partial(_put_back_set, value, held))
    return held


def _deque(value: deque[Any], undo: list[Undo]) -> Iterable[Any]:
    held = list(value)
    undo.append(partial(deque.__init__, value, held, value.maxlen))
    return held


def _tuple(value: tuple[Any, ...], undo: list[Undo]) -> Iterable[Any]:
    return value


def _partial(value: functools.partial[Any], undo: list[Undo]) -> Iterable[Any]:
    return value.func, value.args, value.keywords


def _method(value: MethodType, undo: list[Undo]) -> Iterable[Any]:
    return value.__self__, value.__func__


def _built_in_method(value: BuiltinMethodType, undo: list[Undo]) -> Iterable[Any]:
    return (value.__self__,)  # such as the generator of `rng.random`


def _cell(value: CellType, undo: list[Undo]) -> Iterable[Any]:
    try:
        held = value.cell_contents
    except ValueError:  # of a name that has no value yet
        return ()
    undo.append(partial(setattr, value, "cell_contents", held))
    return (held,)


def _instance(value: Any, undo: list[Undo]) -> Iterable[Any]:
    """Enter an object: its attributes, in a dict or in slots."""
    parts = [vars(value)] if hasattr(value, "__dict__") else []
    for base in type(value).__mro__:
        for slot in vars(base).values() if "__slots__" in vars(base) else ():
            if inspect.ismemberdescriptor(slot):
                with contextlib.suppress(AttributeError):  # of a slot that is empty
                    parts.append(slot.__get__(value))
                    undo.append(partial(slot.__set__, value, parts[-1]))
    return parts


def _bit_generator(value: Any, undo: list[Undo]) -> Iterable[Any]:
    undo.append(partial(setattr, value, "state", value.state))
    return ()


def _numpy_generator(value: np.random.Generator, undo: list[Undo]) -> Iterable[Any]:
    return _bit_generator(value.bit_generator, undo)


def _with_state(value: Any, undo: list[Undo]) -> Iterable[Any]:
    undo.append(partial(value.set_state, value.get_state()))
    return ()


def _python_random(value: random.Random, undo: list[Undo]) -> Iterable[Any]:
    with contextlib.suppress(NotImplementedError):  # of the system's generator
        undo.append(partial(value.setstate, value.getstate()))
    return ()


def _torch_tensor(value: Any, undo: list[Undo]) -> Iterable[Any]:
    if not value.requires_grad and value.nbytes <= _LARGE:
        undo.append(partial(value.copy_, value.clone()))
    return ()


def _variable(value: Any, undo: list[Undo]) -> Iterable[Any]:
    undo.append(partial(value.assign, value.read_value()))
    return ()


def _tensorflow_generator(value: Any, undo: list[Undo]) -> Iterable[Any]:
    return _variable(value.state, undo)


def _keras_variable(value: Any, undo: list[Undo]) -> Iterable[Any]:
    from keras import ops

    # A copy: on some backends the array would share its memory with the variable.
    undo.append(partial(value.assign, np.array(ops.convert_to_numpy(value))))
    return ()


def _layer(value: Any, undo: list[Undo]) -> Iterable[Any]:
    return [*value.non_trainable_variables, vars(value)]


def _seed_generator(value: Any, undo: list[Undo]) -> Iterable[Any]:
    return (value.state,)


_COLLECTIONS = (dict, list, set, deque, tuple)
_KINDS: list[tuple[Any, Handler]] = [
    (np.ndarray, _array),
    (dict, _dict),
    (list, _list),
    (set, _set),
    (deque, _deque),
    (tuple, _tuple),
    (np.random.Generator, _numpy_generator),
    (np.random.BitGenerator, _bit_generator),
    (np.random.RandomState, _with_state),
    (random.Random, _python_random),
    (functools.partial, _partial),
    (MethodType, _method),
    (BuiltinMethodType, _built_in_method),
    (CellType, _cell),
]


def _library_kinds(with_variables: bool) -> list[tuple[Any, Handler | None]]:
    """Return the kinds of the libraries that are in use."""
    kinds: list[tuple[Any, Handler | None]] = []
    torch, tf, keras = map(sys.modules.get, ("torch", "tensorflow", "keras"))
    if torch is not None:
        kinds += [(torch.Generator, _with_state), (torch.nn.Parameter, None)]
        kinds += [(torch.Tensor, _torch_tensor)]
    if tf is not None:
        kinds += [(tf.Variable, _variable), (tf.random.Generator, _tensorflow_generator)]
    if keras is not None and with_variables:
        kinds += [(keras.Variable, _keras_variable), (keras.layers.Layer, _layer)]
        kinds += [(keras.random.SeedGenerator, _seed_generator)]
    return kinds


def _put_back_dict(value: dict[Any, Any], held: dict[Any, Any]) -> None:
    kind = OrderedDict if isinstance(value, OrderedDict) else dict
    for key in value.keys() - held.keys():
        kind.__delitem__(value, key)
    for key, item in held.items():
        if key not in value or (value[key] is not item and key != _REQUEST):
            kind.__setitem__(value, key, item)


def _put_back_set(value: set[Any], held: set[Any]) -> None:
    set.intersection_update(value, held)
    set.update(value, held)
