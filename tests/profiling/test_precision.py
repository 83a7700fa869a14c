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


@pytest.mark.parametrize("precision", ["highest", "high", "medium"])
@pytest.mark.parametrize("allowed", [True, False])
def test_what_the_user_has_set_is_put_back(precision, allowed):
    at_first = CUDNN.allow_tf32, torch.get_float32_matmul_precision()
    try:
        CUDNN.allow_tf32 = allowed
        torch.set_float32_matmul_precision(precision)
        before = settings()
        with true_float32():
            assert settings()[:2] == (False, False)
            assert torch.get_float32_matmul_precision() == "highest"
        assert settings() == before
        assert torch.get_float32_matmul_precision() == precision
    finally:
        CUDNN.allow_tf32 = at_first[0]
        torch.set_float32_matmul_precision(at_first[1])


def test_what_the_user_has_set_by_operator_is_put_back():
    before = MATMUL.fp32_precision
    try:
        MATMUL.fp32_precision = "tf32"
        with true_float32():
            assert MATMUL.fp32_precision == "ieee"
        assert MATMUL.fp32_precision == "tf32"
    finally:
        MATMUL.fp32_precision = before
