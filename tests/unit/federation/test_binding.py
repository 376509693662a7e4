"""What ties a login to one browser and one provider."""

from gatebook.federation import binding

ONE, OTHER, HANDLE = "b" * 43, "c" * 43, "h" * 43


def test_a_state_is_of_one_browser_one_handle_and_one_provider() -> None:
    state = binding.state_of(ONE, HANDLE, "corp")
    assert binding.handle_of(state) == HANDLE
    assert binding.is_of_browser(state, ONE, "corp")
    assert not binding.is_of_browser(state, OTHER, "corp")
    assert not binding.is_of_browser(state, ONE, "other")
    assert not binding.is_of_browser("x" + state, ONE, "corp")
    assert not binding.is_of_browser(state + "\udcff", ONE, "corp")


def test_nothing_that_is_sent_tells_anything_else() -> None:
    values = {
        binding.state_of(ONE, HANDLE, "corp"),
        binding.nonce_of(ONE, HANDLE, "corp"),
        binding.nonce_of(ONE, HANDLE, "other"),
        binding.verifier_of(ONE, HANDLE, "corp"),
        binding.verifier_of(ONE, HANDLE, "other"),
        binding.form_token(ONE, HANDLE),
        ONE,
    }
    assert len(values) == 7
    assert len(binding.verifier_of(ONE, HANDLE, "corp")) == 43
    # RFC 7636, appendix B
    challenge = binding.challenge_of("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk")
    assert challenge == "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"


def test_what_was_sealed_opens_in_its_own_browser_under_its_own_handle_only() -> None:
    sealed = binding.seal(ONE, HANDLE, b"request")
    assert binding.unseal(ONE, HANDLE, sealed) == b"request"
    assert binding.unseal(OTHER, HANDLE, sealed) is None
    assert binding.unseal(ONE, "i" * 43, sealed) is None
    assert binding.unseal(ONE, HANDLE, sealed[:-1] + bytes([sealed[-1] ^ 1])) is None
