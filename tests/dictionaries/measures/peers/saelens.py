"""Run by an environment that has SAELens 6, never by ours: its own evaluation of a dictionary on given rows.

    python saelens.py FOLDER ROWS OUT BATCHES      metrics of the dictionary in FOLDER on ROWS in BATCHES parts, as JSON

Its evaluation wants a model and a store of tokens. The two below hand over the rows and nothing else, so that every
number comes from SAELens' own code.
"""

import json
import sys
import warnings
from pathlib import Path

import torch
from safetensors.torch import load_file

warnings.filterwarnings("ignore")
from sae_lens.evals import get_sparsity_and_variance_metrics  # noqa: E402
from sae_lens.saes.sae import SAE  # noqa: E402
from sae_lens.training.activation_scaler import ActivationScaler  # noqa: E402


class Rows:
    """A store whose tokens are row numbers, and a model whose activations are those rows."""

    def __init__(self, rows, batches, hook):
        self.rows, self.hook = rows, hook
        self.parts = iter(torch.arange(len(rows)).chunk(batches))

    def get_batch_tokens(self, _):
        return next(self.parts)[None]

    def run_with_cache(self, tokens, **_):
        return None, {self.hook: self.rows[tokens]}


def main(folder, rows, out, batches):
    sae = SAE.load_from_disk(folder)
    source = Rows(load_file(rows)["rows"], batches, sae.cfg.metadata.hook_name)
    with torch.no_grad():
        metrics, features = get_sparsity_and_variance_metrics(
            sae,
            source,
            source,
            ActivationScaler(),
            n_batches=batches,
            compute_l2_norms=True,
            compute_sparsity_metrics=True,
            compute_variance_metrics=True,
            compute_featurewise_density_statistics=True,
            eval_batch_size_prompts=1,
            model_kwargs={},
        )
    out.write_text(json.dumps(metrics | {"feature_density": features["feature_density"]}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]))
