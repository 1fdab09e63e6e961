"""What a training job needs of an engine. The job itself (packing, loss, optimizer, canary, files) is in `trainer`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor
from torch.nn import Parameter

from ..base_model import BaseModel
from ..packing import Pack
from ..protocol import Lora


class TrainablePolicy(Protocol):
    """A frozen base model with one trainable LoRA adapter.

    Names of parameters and tensors are PEFT's, whatever the engine calls them inside: an adapter that one engine wrote
    is trained on by another, its optimizer state included.
    """

    @property
    def parameters(self) -> Mapping[str, Parameter]:
        """The trainable weights, by `base_model.model.<module>.lora_A.default.weight` and its `lora_B`."""
        ...

    @property
    def configuration(self) -> Mapping[str, Any]:
        """The adapter's PEFT configuration, as `adapter_config.json` holds it."""
        ...

    @property
    def isolates_rows(self) -> bool:
        """Whether it honours a pack's mask. If not, packs hold one row each, with plain causal attention."""
        ...

    def logprobs(self, pack: Pack, *, entropy_gradient: bool) -> tuple[Tensor, Tensor]:
        """Log-probabilities and entropies (T) of the pack's targets, with a gradient unless under `no_grad`.

        The engine keeps to the pack's mask and position ids. Without `entropy_gradient` entropies are numbers only.
        """
        ...

    def without_adapter(self) -> AbstractContextManager[Any]:
        """While it is open, `logprobs` are the base model's."""
        ...

    def tensors(self) -> Mapping[str, Tensor]:
        """The adapter as `adapter_model.safetensors` holds it."""
        ...

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Takes an adapter's weights. Raises ValueError where names or shapes are not this policy's."""
        ...

    def peak_memory_bytes(self) -> int:
        """The most memory that training has held so far: of the device where there is one, else of the process."""
        ...


#: Puts a fresh adapter on the base model. The same seed gives the same weights. Raises SidecarError.
BuildPolicy = Callable[[BaseModel, Lora], TrainablePolicy]


@dataclass(frozen=True)
class TrainingEngine:
    """One way to train, chosen when the sidecar starts."""

    name: str
    #: Raises SidecarError where it cannot train this base model on this machine; nothing has been started then.
    check: Callable[[BaseModel], None]
    build: BuildPolicy


def parameter_name(tensor_name: str) -> str:
    """The parameter that PEFT keeps the adapter's tensor in: its key for the adapter comes before `weight`."""
    return f"{tensor_name.removesuffix('.weight')}.default.weight"


def check_tensors(own: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> None:
    """Raises ValueError with the first tensor that is not in both, or not of the same shape."""
    expected = {name: tuple(value.shape) for name, value in own.items()}
    found = {name: tuple(value.shape) for name, value in given.items()}
    if expected != found:
        odd = sorted(set(expected.items()) ^ set(found.items()))[0][0]
        raise ValueError(f"the tensor {odd} is {found.get(odd, 'missing')}, not {expected.get(odd, 'expected at all')}")
