# ruff: noqa: ANN001, ANN201, ANN202, FBT003, FBT002, PTH118, PTH123, UP031, RUF005
# This file also runs under Python 3.6, where the released code was written.
"""The released code's own side of `released.py`, for an interpreter that can run it with torch, NumPy and SciPy.

    python released_side.py CHECKOUT WORK

Reads `inputs.npz` of the folder WORK and writes `theirs.npz` there. Written for Python 3.6 and torch 1.0 up to today's:
no newer syntax. What today's torch no longer takes is said in `notes.txt`, and done another way that computes the same.
"""

import os
import sys
import types
import warnings

import numpy as np
import torch

CHECKOUT, WORK = sys.argv[1:3]
NOTES = []


def load_module(name, stable=False):
    """Run one file of the checkout; `.cuda()` in it stays on the processor, since there may be no GPU."""
    with open(os.path.join(CHECKOUT, name + ".py")) as handle:
        source = handle.read()
    if ".cuda()" in source:
        source = source.replace(".cuda()", "")
        NOTES.append(name + ".py: .cuda() is left out")
    if name == "rankingloss" and torch.__version__ >= "1.2":
        # Under torch 1.0 comparisons gave bytes; ~ of a byte that is 0 or 1 was 1 or 0, as ~ of a boolean is today.
        source = source.replace(".byte()", ".bool()")
        NOTES.append("rankingloss.py: masks are bool, as torch has them since 1.2")
    if name == "centerloss" and torch.__version__ >= "1.5":
        source = source.replace("addmm_(1, -2, x, self.centers.t())", "addmm_(x, self.centers.t(), beta=1, alpha=-2)")
        NOTES.append("centerloss.py: factors of addmm_ are named, as torch wants them since 1.5")
    if stable:
        source = source.replace(".argsort()", ".argsort(kind='stable')")
    module = types.ModuleType(name)
    exec(compile(source, name + ".py", "exec"), module.__dict__)
    return module


def measure_logits(given, found):
    """Logits of the four media, in evaluation."""
    network = load_module("model").resnet50(num_classes=200)
    network.load_state_dict(torch.load(os.path.join(WORK, "model.pkl")))
    network.eval()
    with torch.no_grad():
        for medium in ("image", "video", "audio"):
            found["logits_" + medium] = network.forward_share(torch.from_numpy(given["pixels_" + medium])).numpy()
        found["logits_text"] = network.forward_txt(torch.from_numpy(given["symbols"])).numpy()


def measure_losses(given, found):
    """The three losses and their gradients by the logits, and that of the centers."""
    logits = torch.from_numpy(given["loss_logits"])
    labels = torch.from_numpy(given["loss_labels"])
    count = len(labels) // 4

    def classify(rows):
        criterion = torch.nn.CrossEntropyLoss()
        return sum(criterion(rows.narrow(0, i * count, count), labels.narrow(0, i * count, count)) for i in range(4))

    center = load_module("centerloss").CenterLoss(logits.shape[1], logits.shape[1], False)
    center.centers.data.copy_(torch.from_numpy(given["centers"]))
    ranking = load_module("rankingloss").ranking_loss
    losses = {
        "classification": classify,
        "center": lambda rows: center(rows, labels) * 0.001,
        "ranking": lambda rows: ranking(labels, rows, margin=1, margin2=0.5, squared=False)[0] * 0.1,
    }
    for name, loss in losses.items():
        rows = logits.clone().requires_grad_()
        value = loss(rows)
        value.backward()
        found["loss_" + name] = np.array(value.item())
        found["gradient_" + name] = rows.grad.numpy()
    found["gradient_centers"] = center.centers.grad.numpy() / 0.001


def measure_maps(given, found):
    """The 16 MAPs of `retrieval.py` at each scale of the logits: its own `mAP` on softmaxes in float32."""
    measured = {"map": load_module("retrieval"), "stable": load_module("retrieval", stable=True)}
    order = ("image", "text", "audio", "video")  # in which the script stacks the gallery of all
    for scale in given["scales"].tolist():
        rows, label = {}, {}
        for medium in order:
            logits = torch.from_numpy(given["map_logits_" + medium] * np.float32(scale))
            rows[medium] = torch.softmax(logits, dim=1).numpy()
            label[medium] = given["map_labels_" + medium].astype(float)
        every = np.vstack([rows[medium] for medium in order])
        every_label = np.concatenate([label[medium] for medium in order])
        for query in order:
            for gallery in order:
                for kind, retrieval in measured.items():
                    if query != gallery:
                        key = "%s_%g_%s_to_%s" % (kind, scale, query, gallery)
                        found[key] = retrieval.mAP(rows[query], rows[gallery], label[query], label[gallery])
            for kind, retrieval in measured.items():
                key = "%s_%g_%s_to_all" % (kind, scale, query)
                found[key] = retrieval.mAP(rows[query], every, label[query], every_label)


def measure_rates(found):
    """The learning rate of each epoch, with `scheduler.step()` where `main.py` has it."""
    parameter = torch.nn.Parameter(torch.ones(1))
    optimizer = torch.optim.SGD([parameter], lr=0.001, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=3, gamma=0.5)
    rates = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(50):
            scheduler.step()
            rates.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
    found["rates"] = np.array(rates)


def main():
    """Measure everything."""
    given = np.load(os.path.join(WORK, "inputs.npz"))
    found = {}
    measure_logits(given, found)
    measure_losses(given, found)
    measure_maps(given, found)
    measure_rates(found)
    np.savez(os.path.join(WORK, "theirs.npz"), **found)
    with open(os.path.join(WORK, "notes.txt"), "w") as handle:
        handle.write("\n".join(["Python " + sys.version.split()[0] + ", torch " + torch.__version__] + NOTES))


if __name__ == "__main__":
    main()
