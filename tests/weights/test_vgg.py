"""torchvision's VGG19 becomes ours: its names, its layout, the places of the features."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import save_file

from elir_jax.errors import UserError
from elir_jax.networks.vgg import MEAN, STD, Vgg19
from elir_jax.weights.vgg import read_vgg

# Of torchvision's features: channels of each convolution, M for a pooling. Each convolution is
# followed by a ReLU, and the features are the outputs of the convolutions with these numbers.
LAYERS = [64, 64, "M", 128, 128, "M", *[256] * 4, "M", *[512] * 4, "M", *[512] * 4]
TAKEN = (2, 7, 16, 25, 34)


@pytest.fixture(scope="module")
def features():
    """torchvision's ``features`` up to conv5_4, with drawn weights, by the numbers of its names."""
    torch = pytest.importorskip("torch", reason="VGG19 as torchvision builds it needs torch")
    torch.manual_seed(0)
    modules, channels = [], 3
    for layer in LAYERS:
        if layer == "M":
            modules.append(torch.nn.MaxPool2d(2))
            continue
        modules += [torch.nn.Conv2d(channels, layer, 3, padding=1), torch.nn.ReLU()]
        channels = layer
    return torch.nn.Sequential(*modules)


@pytest.fixture(scope="module")
def file(features, tmp_path_factory):
    path = tmp_path_factory.mktemp("vgg") / "vgg19.safetensors"
    tensors = {f"features.{name}": t.detach().numpy() for name, t in features.state_dict().items()}
    save_file(tensors | {"classifier.0.bias": np.zeros(3, np.float32)}, path)
    return path


def test_the_features_are_torchvisions(features, file):
    torch = pytest.importorskip("torch", reason="VGG19 as torchvision builds it needs torch")
    x = np.random.default_rng(0).random((1, 32, 48, 3), np.float32)
    found = jax.jit(Vgg19().apply)({"params": read_vgg(file)["perceptual"]}, jnp.asarray(x))
    h, expected = torch.from_numpy((x - np.float32(MEAN)) / np.float32(STD)).permute(0, 3, 1, 2), []
    with torch.no_grad():
        for number, module in enumerate(features):
            h = module(h)
            if number in TAKEN:
                expected.append(h.clone().permute(0, 2, 3, 1).numpy())
    assert len(found) == len(expected) == len(TAKEN)
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=2e-5 * np.abs(theirs).max())


def test_a_file_without_a_layer_is_refused_by_its_name(tmp_path):
    path = tmp_path / "vgg19.safetensors"
    save_file({"features.0.bias": np.zeros(64, np.float32)}, path)
    with pytest.raises(UserError, match=r"features\.0\.weight"):
        read_vgg(path)
