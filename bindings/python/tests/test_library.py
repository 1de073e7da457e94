import walkpay


def test_the_library_of_this_build_matches_the_generated_code():
    assert issubclass(walkpay.InternalError, Exception)
    assert "InternalError" in walkpay.__all__
