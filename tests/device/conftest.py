"""Each test of a device runs under the guard, and on a GPU where one is."""

import pytest
from sides import side


@pytest.fixture(
    scope="module",
    params=["guard", pytest.param("gpu", marks=pytest.mark.gpu)],
)
def device(request):
    with side(request.param) as here:
        yield here
