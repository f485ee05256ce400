"""Without a network, one line says what to do."""

import huggingface_hub
import pytest

from elir_jax.errors import UserError
from elir_jax.weights.hub import download


def test_no_network_is_one_line_with_the_remedy(monkeypatch, capsys):
    def refuse(repository, file):
        raise ConnectionError("no route to host\nand a second line")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", refuse)
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *_: None)
    with pytest.raises(UserError, match="madebyollin/taesd3.*no route to host.*weights=FILE") as e:
        download("madebyollin/taesd3")
    assert "\n" not in str(e.value)
    assert "downloading" in capsys.readouterr().out  # a download is announced
