"""Run by the interpreter of a peer: activations of small models through its backend against our own hooks.

python backends.py BACKEND SITE-PACKAGES-OF-OURS FAMILY …     prints JSON: family -> site -> relative difference
"""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path

HERE = Path(__file__).resolve()
sys.path.append(sys.argv[2])
sys.path[:0] = [str(HERE.parents[3] / "src"), str(HERE.parents[2])]
warnings.simplefilter("ignore")

from models import make  # noqa: E402
from radiograph.core import Refusal  # noqa: E402
from radiograph.models import capture, pad, wrap  # noqa: E402
from radiograph.models.backends import reader  # noqa: E402

SITES = (
    *("embed", "resid_pre.1", "resid_mid.1", "resid_post.1", "attn_z.1", "attn_z.1.h2", "attn_out.1"),
    *("mlp_in.1", "mlp_hidden.1", "mlp_out.1", "resid_post.2", "final_norm"),
)
# A NeoX has as many key heads as query heads, whatever its config says beside.
CHANGES = {"gpt_neox": {"num_key_value_heads": 4}}


def hooks(network):
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in network.modules())


def main() -> None:
    found = {}
    for family in sys.argv[3:]:
        network = make.network(family, **CHANGES.get(family, {}))
        model = wrap(network, make.tokenizer(merges=38))
        sites = []
        for text in SITES:
            try:
                sites += model.sites(text)
            except Refusal:  # a parallel block has no resid_mid
                continue
        batch = pad([[3, 5, 7, 9, 11], [4, 6, 8], [200, 201, 202, 203]])
        wanted = {site: values.clone() for site, values in capture(model, batch, sites).items()}
        read = reader(sys.argv[1], model)
        read(model, batch, sites)  # a library may set itself up on its first forward
        before = hooks(network)
        differences = {}
        for group in (*([site] for site in sites), sites):
            for site, values in read(model, batch, group).items():
                away = (values - wanted[site])[batch.mask].abs().max() / wanted[site][batch.mask].abs().max()
                differences[str(site)] = max(float(away), differences.get(str(site), 0.0))
        found[family] = {"differences": differences, "hooks": hooks(network) - before}
    print(json.dumps(found))


main()
