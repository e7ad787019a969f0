"""Run by an environment that has crosscoder_learning, never by ours; see saelens.py for the commands."""

import sys
import warnings
from pathlib import Path

import torch
from safetensors.torch import save_file

warnings.filterwarnings("ignore")
from dictionary_learning.dictionary import BatchTopKCrossCoder, CrossCoder  # noqa: E402

SOURCES, WIDTH, SIZE, ROWS = 2, 5, 12, 24
MEAN = torch.linspace(-1, 1, SOURCES * WIDTH).reshape(SOURCES, WIDTH)
SPREAD = 1 + torch.arange(SOURCES * WIDTH).reshape(SOURCES, WIDTH) / 7
NORMALISED = {"activation_mean": MEAN, "activation_std": SPREAD, "target_rms": 2.0}
CASES = {
    "relu": (CrossCoder, {"code_normalization": "CROSSCODER"}),
    "relu-normalised": (CrossCoder, {"code_normalization": "CROSSCODER", **NORMALISED}),
    "batchtopk": (BatchTopKCrossCoder, {"code_normalization": "CROSSCODER"}),
    "batchtopk-joint": (BatchTopKCrossCoder, {"code_normalization": "SAE"}),
    "batchtopk-plain": (BatchTopKCrossCoder, {"code_normalization": "NONE"}),
    "batchtopk-normalised": (BatchTopKCrossCoder, {"code_normalization": "SAE", **NORMALISED}),
}


def write(folder):
    expected = {}
    for number, (case, (kind, options)) in enumerate(CASES.items()):
        torch.manual_seed(number)
        extra = {"k": 3} if kind is BatchTopKCrossCoder else {}
        coder = kind(WIDTH, SIZE, SOURCES, **extra, **options)
        with torch.no_grad():
            for parameter in coder.parameters():
                parameter.copy_(torch.randn(parameter.shape) * (1 if parameter.ndim > 1 else 0.3))
            if extra:
                coder.threshold.fill_(2.0)
        rows = torch.randn(ROWS, SOURCES, WIDTH) * 2 + 0.5
        (folder / case).mkdir(parents=True)
        prefix = "_orig_mod." if number % 2 else ""
        torch.save({prefix + key: value for key, value in coder.state_dict().items()}, folder / case / "ae.pt")
        with torch.no_grad():
            codes = coder.encode(rows)
            said = {"rows": rows.flatten(1), "codes": codes, "output": coder.decode(codes).flatten(1)}
            said["norms"] = coder.get_code_normalization().expand(1, SIZE)[0]
        for name, tensor in said.items():
            expected[f"{case}/{name}"] = tensor.detach().contiguous().clone()
    save_file(expected, folder / "expected.safetensors")


write(Path(sys.argv[2]))
