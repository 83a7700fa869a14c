"""What float32 means on CUDA, which can be set and read without one."""

import pytest
import torch

from srnas.profiling.precision import precision_of_float32, true_float32

CUDNN, MATMUL = torch.backends.cudnn, torch.backends.cuda.matmul


def settings():
    return CUDNN.allow_tf32, MATMUL.allow_tf32, CUDNN.conv.fp32_precision, MATMUL.fp32_precision


def test_float32_is_no_tf32_inside_and_as_before_outside():
    before = settings()
    with true_float32():
        # The older setting can be read too: compilers do.
        assert settings() == (False, False, "ieee", "ieee")
        assert precision_of_float32() == {"convolution_float32": "ieee", "matmul_float32": "ieee"}
    assert settings() == before


@pytest.mark.parametrize("allowed", [True, False])
def test_what_the_user_has_set_is_put_back(allowed):
    at_first = CUDNN.allow_tf32, MATMUL.allow_tf32
    try:
        CUDNN.allow_tf32 = MATMUL.allow_tf32 = allowed
        before = settings()
        with true_float32():
            pass
        assert settings() == before
    finally:
        CUDNN.allow_tf32, MATMUL.allow_tf32 = at_first
