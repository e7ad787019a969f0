"""Sparse codes and their products: exact top-k, gather-sum, sampled products, products by feature.

0. `linear`: rows times encoder, the one dense product, a chunk of rows at a time.
1. `top_k`: the k largest of every row, exactly; `BatchTop`: the largest of a whole batch that comes in parts.
2. `gather_sum`: sum of value × table row over the entries of each row (a decoder).
3. `sampled_products`: the entries of rows @ table.T that are asked for (the gradient of the values).
4. `by_feature(...).product`: codes.T @ rows (the gradient of the table), entries sorted by feature.
None forms a [row, feature] product or a [row · k, width] gather. Sums run in a fixed order, so results do not depend on
the thread count.
"""

from radiograph.numerics.sparse._codes import codes_of, codes_of_dense, concatenate, dense
from radiograph.numerics.sparse._linear import fresh, linear
from radiograph.numerics.sparse._products import ByFeature, by_feature, gather_sum, sampled_products
from radiograph.numerics.sparse._top import BatchTop, Places, top_k

__all__ = [
    "BatchTop",
    "ByFeature",
    "Places",
    "by_feature",
    "codes_of",
    "codes_of_dense",
    "concatenate",
    "dense",
    "fresh",
    "gather_sum",
    "linear",
    "sampled_products",
    "top_k",
]
