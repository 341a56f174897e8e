"""How far rounding alone may move a result: what tests that compare floating-point numbers allow.

Processors sum in different orders and with different instructions. A tolerance that was read off
one of them fails on the next, so tests derive theirs from the size and the length of the sums.
"""

from __future__ import annotations

import math

from evaluation.examples import Example
from training_recipes.scales import ModelShape

FLOAT32 = 2.0**-23  # the distance from 1 to the next number
BFLOAT16 = 2.0**-7
ROOM = 4.0


def rounding(size: float, operations: int, eps: float = FLOAT32) -> float:
    """The most that rounding may put two computations of one number apart.

    `size` is the largest number that is rounded on the way, `operations` how many are rounded one
    after another: n for a sum of n numbers. Each is off by at most half an `eps` of its size.
    Errors that do not depend on one another add up to λ√n of them, not to n, where λ = 5 is
    exceeded with a probability of about 1e-5 (N. Higham and T. Mary, "A new approach to
    probabilistic rounding error analysis", SIAM J. Sci. Comput. 41, 2019). Both computations err,
    hence another √2: together 3.5 times eps, here rounded up to `ROOM`.
    """
    return ROOM * eps * math.sqrt(operations) * size


def rounding_a_token(example: Example, shape: ModelShape) -> float:
    """How far two engines' log-probabilities of one token of an example's answers may be apart.

    The logit's rounding, and that of the sum of exponentials over the vocabulary, whose relative
    error is the logarithm's absolute one. Long sums of log-probabilities are made in float64.
    """
    sums, tokens = example.option_logprobs or [0.0], example.option_tokens or [1]
    size = max(abs(total) / number for total, number in zip(sums, tokens, strict=True))
    logit = rounding(max(size, math.log(shape.vocab)), openlm_operations(shape, shape.seq_len))
    return logit + rounding(1, shape.vocab)


def openlm_operations(shape: ModelShape, length: int) -> int:
    """Roundings on the way from an embedding to a logit, after a text of `length` tokens.

    The lengths of all sums, one after another: four norms (a mean and a variance each), queries,
    scores, softmax, values, and the three matrices that follow; then the last norm and the head.
    """
    dim = shape.dim
    layer = 8 * dim + dim + shape.head_dim + 2 * length + dim + dim + shape.ffn_hidden
    return shape.layers * layer + 3 * dim
