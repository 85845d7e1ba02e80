#!/usr/bin/env python3
"""Times training steps in PyTorch, as `gaunt bench train` times Gaunt's: the same networks, batches and optimiser.

A step is forward, cross entropy, backward and SGD with Nesterov momentum and weight decay, on batches that lie ready.
What PyTorch offers for speed is used: channels_last, activations in place, the fused optimiser.

    pip install torch
    python bench/pytorch_train.py --arch resnet20 --threads 2 --json
"""

import argparse
import json
import statistics
import time

import torch
from torch import nn
from torch.nn import functional as F

WARM_UP = 3
BATCHES = 4


def conv_norm(inputs, outputs, kernel=3, stride=1, groups=1, bias=False):
    conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=bias)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs))


def conv_norm_relu(*args, **kwargs):
    return conv_norm(*args, **kwargs).append(nn.ReLU(inplace=True))


def head(channels, classes):
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes))


def vgg16(classes):
    layers, channels = [], 3
    for stage in [[64] * 2, [128] * 2, [256] * 3, [512] * 3, [512] * 3]:
        for outputs in stage:
            layers.append(conv_norm_relu(channels, outputs, bias=True))
            channels = outputs
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers, head(channels, classes))


class Padded(nn.Module):
    """Every second pixel, with channels of zeros before and after: a shortcut without parameters."""

    def __init__(self, inputs, outputs):
        super().__init__()
        self.pad = (outputs - inputs) // 2

    def forward(self, x):
        return F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.pad, self.pad))


class Sum(nn.Module):
    """`activation(body(x) + shortcut(x))`."""

    def __init__(self, body, shortcut, activation):
        super().__init__()
        self.body, self.shortcut, self.activation = body, shortcut, activation

    def forward(self, x):
        return self.activation(self.body(x).add_(self.shortcut(x)))


def resnet(classes, stages, shortcut):
    channels = stages[0][0]
    layers = [conv_norm_relu(3, channels)]
    for index, (outputs, blocks) in enumerate(stages):
        for block in range(blocks):
            stride = 2 if index > 0 and block == 0 else 1
            body = nn.Sequential(conv_norm_relu(channels, outputs, stride=stride), conv_norm(outputs, outputs))
            skip = nn.Identity() if stride == 1 and channels == outputs else shortcut(channels, outputs)
            layers.append(Sum(body, skip, nn.ReLU(inplace=True)))
            channels = outputs
    return nn.Sequential(*layers, head(channels, classes))


def resnet18(classes):
    return resnet(classes, [(64, 2), (128, 2), (256, 2), (512, 2)], lambda i, o: conv_norm(i, o, kernel=1, stride=2))


def resnet20(classes):
    return resnet(classes, [(16, 3), (32, 3), (64, 3)], Padded)


def mobilenet_v2(classes):
    layers, channels = [conv_norm_relu(3, 32)], 32
    for expansion, outputs, blocks, first in [
        (1, 16, 1, 1), (6, 24, 2, 1), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)
    ]:  # fmt: skip
        for block in range(blocks):
            stride, width = first if block == 0 else 1, expansion * channels
            body = nn.Sequential(
                conv_norm_relu(channels, width, kernel=1),
                conv_norm_relu(width, width, stride=stride, groups=width),
                conv_norm(width, outputs, kernel=1),
            )
            if stride == 1:
                skip = nn.Identity() if channels == outputs else conv_norm(channels, outputs, kernel=1)
                body = Sum(body, skip, nn.Identity())
            layers.append(body)
            channels = outputs
    return nn.Sequential(*layers, conv_norm_relu(channels, 1280, kernel=1), head(1280, classes))


# The trainable parameters for ten classes, as the tests of Gaunt's zoo have them.
NETWORKS = {
    "vgg16": (vgg16, 14_728_266),
    "resnet18": (resnet18, 11_173_962),
    "resnet20": (resnet20, 269_722),
    "mobilenet-v2": (mobilenet_v2, 2_296_922),
}
LAYOUTS = {"channels_last": torch.channels_last, "contiguous": torch.contiguous_format}


def build(arch, classes):
    function, expected = NETWORKS[arch]
    found = sum(parameter.numel() for parameter in function(10).parameters())
    assert found == expected, f"{arch} has {found} parameters, not {expected}"
    return function(classes)


def rss(field):
    """Bytes that the process holds (`VmRSS`) or held at most (`VmHWM`); nothing where the system does not tell."""
    try:
        with open("/proc/self/status") as status:
            return next(1024 * int(line.split()[1]) for line in status if line.startswith(field))
    except (OSError, StopIteration):
        return None


def measure(args):
    import_rss = rss("VmRSS")
    torch.manual_seed(0)
    torch.set_num_threads(args.threads)
    layout = LAYOUTS[args.layout]
    network = build(args.arch, args.classes).train().to(memory_format=layout)
    parameters = sum(parameter.numel() for parameter in network.parameters())
    optimizer = torch.optim.SGD(
        network.parameters(), lr=1e-3, momentum=0.9, nesterov=True, weight_decay=5e-4, fused=True
    )
    images = torch.rand(BATCHES, args.batch, 3, args.size, args.size).sub_(0.5).div_(0.25)
    images = [batch.to(memory_format=layout) for batch in images]
    labels = torch.randint(args.classes, (BATCHES, args.batch))
    forward = torch.compile(network) if args.compile else network
    times = []
    for step in range(WARM_UP + args.steps):
        start = time.perf_counter()
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=args.precision == "bf16"):
            loss = F.cross_entropy(forward(images[step % BATCHES]), labels[step % BATCHES])
        loss.backward()
        optimizer.step()
        times.append(time.perf_counter() - start)
    seconds = statistics.median(times[WARM_UP:])
    return {
        "torch": torch.__version__,
        "capability": torch.backends.cpu.get_cpu_capability(),
        "arch": args.arch,
        "parameters": parameters,
        "batch": args.batch,
        "precision": args.precision,
        "layout": args.layout,
        "threads": args.threads,
        "steps": args.steps,
        "images_per_s": args.batch / seconds,
        "step_ms": 1e3 * seconds,
        "peak_rss_bytes": rss("VmHWM"),
        "import_rss_bytes": import_rss,
    }


def main():
    parser = argparse.ArgumentParser(description="Times training steps in PyTorch.")
    parser.add_argument("--arch", choices=NETWORKS, required=True)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32", help="bf16 is by autocast")
    parser.add_argument("--layout", choices=LAYOUTS, default="channels_last")
    parser.add_argument("--steps", type=int, default=10, help="steps whose median counts; a few run before")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--classes", type=int, default=10)
    parser.add_argument("--compile", action="store_true", help="through torch.compile, which needs a C++ compiler")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    args = parser.parse_args()
    report = measure(args)
    if args.json:
        print(json.dumps(report))
    else:
        for key, value in report.items():
            print(f"{key:17} {value}")


if __name__ == "__main__":
    main()
