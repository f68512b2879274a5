"""The network of the released code of He et al., ACM MM 2019, in plain modules: a definition that ours is judged by."""

import torch
from torch import nn

SYMBOLS = "abcdefghijklmnopqrstuvwxyz0123456789,;.!?:'\"/\\|_@#$%^&*~`+-=<>()[]{}"
TEXT_LENGTH = 448


class Bottleneck(nn.Module):
    def __init__(self, planes_in: int, width: int, stride: int, downsample: nn.Module | None) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(planes_in, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, 4 * width, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * width)
        self.relu = nn.ReLU()
        self.downsample = downsample

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.relu(self.bn2(self.conv2(x)))
        return self.relu(self.bn3(self.conv3(x)) + shortcut)


class ReleasedNetwork(nn.Module):
    """One trunk for pictures and for texts drawn as pictures; the logits of 448 x 448 inputs."""

    def __init__(self, class_count: int = 200, blocks: tuple[int, ...] = (3, 4, 6, 3)) -> None:
        super().__init__()
        self.embed = nn.Embedding(len(SYMBOLS) + 2, 16, padding_idx=0)
        self.conv01 = nn.Conv1d(16, 224, kernel_size=3, padding=1)
        self.conv02 = nn.Conv1d(224, 448, kernel_size=3, padding=1)
        self.conv0 = nn.Conv2d(1, 3, kernel_size=3, padding=1)
        self.conv1 = nn.Conv2d(3, 64, kernel_size=7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU()
        self.maxpool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1)
        planes = 64
        for stage, count in enumerate(blocks):
            width, stride = 64 * 2**stage, 1 if stage == 0 else 2
            shortcut = nn.Sequential(nn.Conv2d(planes, 4 * width, 1, stride, bias=False), nn.BatchNorm2d(4 * width))
            first = Bottleneck(planes, width, stride, shortcut)
            planes = 4 * width
            rest = [Bottleneck(planes, width, 1, None) for _ in range(count - 1)]
            setattr(self, f"layer{stage + 1}", nn.Sequential(first, *rest))
        self.avgpool = nn.AvgPool2d(14, stride=1)
        self.fc = nn.Linear(planes, class_count)

    def draw(self, ids: torch.Tensor) -> torch.Tensor:
        """A text as a picture of three channels."""
        x = self.embed(ids).transpose(1, 2)
        x = self.conv02(self.relu(self.conv01(x)))
        return self.conv0(x.reshape(-1, 1, 448, 448))

    def forward(self, picture: torch.Tensor) -> torch.Tensor:
        x = self.maxpool(self.relu(self.bn1(self.conv1(picture))))
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = stage(x)
        return self.fc(self.avgpool(x).flatten(1))


def released_ids(text: str) -> torch.Tensor:
    """The ids of a text's last line: symbols of the alphabet, counted from 1, padded with 0."""
    last = text.splitlines()[-1]
    ids = [SYMBOLS.index(each) + 1 for each in last if each in SYMBOLS][:TEXT_LENGTH]
    return torch.tensor([ids + [0] * (TEXT_LENGTH - len(ids))])
