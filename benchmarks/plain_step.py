"""A training step as the released code of He et al., ACM MM 2019, takes it: plain, eager, and one file after another.

For `training_step.py` to measure against. Written from the description of the network, the losses and the loaders.
"""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from PIL import Image
from torch import Tensor, nn

from fieldmark.encoders.pixels import SYMBOLS

MEAN, STD = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1), torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)


class Block(nn.Module):
    """A bottleneck of ResNet-50."""

    def __init__(self, inner: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inner, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, 4 * width, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * width)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = None
        if stride != 1 or inner != 4 * width:
            shortcut = nn.Conv2d(inner, 4 * width, 1, stride, bias=False)
            self.downsample = nn.Sequential(shortcut, nn.BatchNorm2d(4 * width))

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output."""
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        return self.relu(out + (x if self.downsample is None else self.downsample(x)))


class PlainNetwork(nn.Module):
    """ResNet-50 for four media, with the stem that makes a picture of a text."""

    def __init__(self, class_count: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(70, 16, padding_idx=0)
        self.conv01, self.conv02 = nn.Conv1d(16, 224, 3, padding=1), nn.Conv1d(224, 448, 3, padding=1)
        self.conv0 = nn.Conv2d(1, 3, 3, padding=1)
        layers: list[nn.Module] = [
            nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1),
        ]  # fmt: skip
        inner = 64
        for width, blocks, stride in ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)):
            for place in range(blocks):
                layers.append(Block(inner, width, stride if place == 0 else 1))
                inner = 4 * width
        self.trunk = nn.Sequential(*layers, nn.AvgPool2d(14, 1))
        self.fc = nn.Linear(2048, class_count)

    def forward(self, image: Tensor, video: Tensor, audio: Tensor, text: Tensor) -> Tensor:
        """Return the logits of the rows of the four media, one medium after the other."""
        planes = self.conv02(F.relu(self.conv01(self.embed(text).transpose(1, 2)))).unsqueeze(1)
        rows = torch.cat([image, video, audio, self.conv0(planes)])
        return self.fc(self.trunk(rows).flatten(1))


def rank_directly(logits: Tensor, label: Tensor, *, margin: float = 1.0, second_margin: float = 0.5) -> Tensor:
    """Compute the ranking loss from the tensor of all quadruplets."""
    distance = torch.cdist(logits, logits)
    count = len(label)
    same = label[:, None] == label[None, :]
    distinct = ~torch.eye(count, dtype=torch.bool, device=label.device)
    first = distance[:, :, None, None] - distance[:, None, :, None] + margin
    second = distance[:, :, None, None] - distance[None, None, :, :] + second_margin
    valid = (same & distinct)[:, :, None, None] & ~same[:, None, :, None] & ~same[:, None, None, :]
    terms = torch.relu((first + second) * (valid & ~same[None, None, :, :]))
    return terms.sum() / ((terms > 1e-16).sum() + 1e-16)


class PlainStep:
    """The network, the losses and the optimizer, and how files are read for them."""

    def __init__(self, class_count: int, device: torch.device) -> None:
        self.network = PlainNetwork(class_count).to(device).train()
        self.centers = nn.Parameter(torch.randn(class_count, class_count, device=device))
        self.optimizer = torch.optim.SGD([*self.network.parameters(), self.centers], lr=1e-3, momentum=0.9)
        self.device = device

    def read(self, paths: dict[str, list[Path]]) -> list[Tensor]:
        """Read the tensors of a step, file by file."""
        pictures = [torch.stack([_read_picture(path) for path in paths[name]]) for name in ("image", "video", "audio")]
        return [*pictures, torch.stack([_read_text(path) for path in paths["text"]])]

    def take(self, rows: list[Tensor], label: Tensor) -> float:
        """Update the weights by one step."""
        logits = self.network(*(each.to(self.device) for each in rows))
        label = label.to(self.device)
        every = label.repeat(4)
        classification = sum((F.cross_entropy(own, label) for own in logits.chunk(4)), start=logits.new_zeros(()))
        center = (logits - self.centers[every]).square().sum() / len(every)
        loss = classification + 0.001 * center + 0.1 * rank_directly(logits, every)
        self.optimizer.zero_grad()
        loss.backward()
        self.centers.grad *= 1000
        self.optimizer.step()
        return loss.item()


def _read_picture(path: Path) -> Tensor:
    picture = Image.open(path).convert("RGB").resize((512, 512), Image.Resampling.BILINEAR).crop((32, 32, 480, 480))
    return (torch.from_numpy(np.array(picture)).permute(2, 0, 1).float() / 255 - MEAN) / STD


def _read_text(path: Path) -> Tensor:
    ids = [SYMBOLS.index(symbol) + 1 for symbol in path.read_text() if symbol in SYMBOLS][:448]
    return torch.tensor(ids + [0] * (448 - len(ids)))
