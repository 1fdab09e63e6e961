"""The wire messages of docs/sidecar-protocol.md, validated. Imports no torch."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from .errors import SidecarError

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]


class Strict(BaseModel):
    """Unknown fields are errors: an option that silently does nothing is worse than a refusal."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Lora(Strict):
    rank: int = Field(default=8, ge=1, le=512)
    alpha: Annotated[float, Field(gt=0)] = 16.0
    target_modules: list[str] | None = None
    seed: int = 3407


class AdapterSpec(Strict):
    name: Name
    step: int = Field(ge=1)
    parent: str | None
    folder: str
    lora: Lora = Field(default_factory=Lora)


class Loss(Strict):
    kind: Literal["cispo", "ppo"] = "cispo"
    clip_low: float = Field(default=1.0, ge=0)
    clip_high: float = Field(default=4.0, ge=0)
    importance_sampling: Literal["token", "sequence"] = "token"
    kl_coefficient: float = Field(default=0.0, ge=0)
    truncated_importance_sampling: Annotated[float, Field(gt=0)] | None = None
    entropy_coefficient: Finite = 0.0


class Optimizer(Strict):
    #: one for all gradient steps, or one for each
    learning_rate: Positive | Annotated[list[Positive], Field(min_length=1)] = 1e-4
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]] = (0.9, 0.99)
    weight_decay: float = Field(default=0.0, ge=0)
    max_grad_norm: float = Field(default=1.0, gt=0)
    epochs: int = Field(default=1, ge=1)
    tokens_per_batch: int = Field(default=8192, ge=16)
    gradient_steps: int = Field(default=1, ge=1)


class Row(Strict):
    row_id: str
    group_id: str
    token_ids: list[Annotated[int, Field(ge=0)]] = Field(min_length=2)
    positions: list[int] = Field(min_length=1)
    logprobs: list[Finite | None]
    advantages: list[Finite]
    weights: list[Annotated[float, Field(ge=0, allow_inf_nan=False)]]

    @model_validator(mode="after")
    def _fits(self) -> Row:
        count = len(self.positions)
        for name in ("logprobs", "advantages", "weights"):
            if len(getattr(self, name)) != count:
                raise ValueError(f"{name} must have one entry for each of the {count} positions")
        if any(b <= a for a, b in zip(self.positions, self.positions[1:], strict=False)):
            raise ValueError("positions must ascend")
        if self.positions[0] < 1 or self.positions[-1] >= len(self.token_ids):
            raise ValueError(f"positions must lie between 1 and {len(self.token_ids) - 1}")
        return self


class TrainingJobRequest(Strict):
    job_id: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")
    adapter: AdapterSpec
    loss: Loss = Field(default_factory=Loss)
    optimizer: Optimizer = Field(default_factory=Optimizer)
    rows: list[Row] = Field(min_length=1)


class AdoptTarget(Strict):
    name: Name
    step: int = Field(ge=1)
    folder: str


class AdoptRequest(Strict):
    """A PEFT folder from elsewhere, and the step that it becomes."""

    source: str
    adapter: AdoptTarget


class UploadedFile(Strict):
    bytes: int = Field(ge=0)
    sha256: str = Field(pattern=r"^sha256:[0-9a-f]{64}$")


class UploadListing(Strict):
    """The files of an upload, by name."""

    files: dict[str, UploadedFile] = Field(min_length=1, max_length=16)


class FinishUpload(Strict):
    folder: str


class TokenizeRequest(Strict):
    """Messages whose prompt ids are asked for, in vLLM's dialect."""

    model: str = "base"
    messages: list[dict[str, Any]] = Field(min_length=1)
    tools: list[dict[str, Any]] | None = None
    add_generation_prompt: bool = True
    chat_template_kwargs: dict[str, Any] = {}


class LoadAdapter(Strict):
    lora_name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}@[0-9]+$")
    lora_path: str


class UnloadAdapter(Strict):
    lora_name: str


class JsonSchema(BaseModel):
    name: str = "answer"
    json_schema: dict[str, Any] = Field(alias="schema")


class ResponseFormat(BaseModel):
    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None

    @model_validator(mode="after")
    def _has_schema(self) -> ResponseFormat:
        if self.type == "json_schema" and self.json_schema is None:
            raise ValueError("json_schema is needed where the type is json_schema")
        return self


class StreamOptions(BaseModel):
    include_usage: bool = False


class NamedFunction(BaseModel):
    name: str


class NamedToolChoice(BaseModel):
    type: Literal["function"]
    function: NamedFunction


class ChatRequest(Strict):
    """A chat completion in vLLM's OpenAI dialect; what this engine cannot honour is refused by name."""

    model: str
    messages: list[dict[str, Any]] = Field(min_length=1)
    tools: list[dict[str, Any]] | None = None
    tool_choice: Literal["auto", "none", "required"] | NamedToolChoice | None = None
    response_format: ResponseFormat | None = None
    temperature: float = Field(default=1.0, ge=0, le=10)
    top_p: float = Field(default=1.0, gt=0, le=1)
    seed: int | None = None
    stop: str | list[str] | None = None
    n: int = Field(default=1, ge=1, le=64)
    max_tokens: int | None = Field(None, ge=1)
    max_completion_tokens: int | None = Field(None, ge=1)
    logprobs: bool = False
    top_logprobs: Literal[0] | None = None
    return_token_ids: bool = False
    stream: bool = False
    stream_options: StreamOptions | None = None
    chat_template_kwargs: dict[str, Any] = {}
    parallel_tool_calls: bool | None = None
    user: str | None = None

    @property
    def stops(self) -> list[str]:
        """The stop strings as a list."""
        if self.stop is None:
            return []
        return [self.stop] if isinstance(self.stop, str) else self.stop


M = TypeVar("M", bound=BaseModel)


def parse(kind: type[M], value: object) -> M:
    """Validates a message; raises SidecarError (400) that names the field and the value received."""
    try:
        return kind.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        field = ""
        for part in first["loc"]:
            field += f"[{part}]" if isinstance(part, int) else f"{'.' if field else ''}{part}"
        received = repr(first["input"])
        shown = received if len(received) <= 80 else received[:80] + "…"
        raise SidecarError(
            "invalid_request",
            f"Field {field or 'body'}: {first['msg']}; received {shown}.",
            fix="See docs/sidecar-protocol.md for what this engine accepts.",
            param=field or None,
        ) from error
