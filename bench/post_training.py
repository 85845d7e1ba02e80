"""Prints the two curves that post_training.sh measured, and their matches.

usage: post_training.py DIR

Of each curve those points count that no other of it beats in both bytes and accuracy. Each of our files is compared with the bytes that NNCodec
needs for the same accuracy: on the line between the two points around it, in the logarithm of bytes. Where we are more accurate than
all of them, it is their most accurate point that counts, to their favour.
"""
import json
import math
import sys
from pathlib import Path


def front(points):
    """Points by rising bytes, each more accurate than all before."""
    best = []
    for size, accuracy in sorted(points):
        if not best or accuracy > best[-1][1]:
            best.append((size, accuracy))
    return best


def bytes_at(points, accuracy):
    """Bytes of the curve at an accuracy; none below its least accurate point."""
    for (small, low), (large, high) in zip(points, points[1:]):
        if low <= accuracy <= high:
            share = (accuracy - low) / (high - low)
            return math.exp((1 - share) * math.log(small) + share * math.log(large))
    return points[-1][0] if accuracy > points[-1][1] else None


def main():
    folder = Path(sys.argv[1])
    ours = [json.loads(path.read_text()) for path in folder.glob("ours-*.json")]
    ours = front([(report["file_bytes"], report["test"]["file"]) for report in ours])
    theirs = [json.loads(line) for line in (folder / "theirs.jsonl").read_text().splitlines()]
    accuracy = lambda point: json.loads(Path(point["network"]).with_suffix(".json").read_text())["top1"]
    theirs = front([(point["bytes"], accuracy(point)) for point in theirs])
    print("NNCodec, bytes and top-1 on test:", ", ".join(f"{size} {top1:.2f}" for size, top1 in theirs))
    print(f"{'gaunt, bytes':>12} {'test':>7} {'NNCodec, bytes':>15} {'smaller':>8}")
    logs = []
    for size, top1 in ours:
        rival = bytes_at(theirs, top1)
        logs += [math.log(size / rival)] if rival else []
        match = f"{rival:15.0f} {100 * (1 - size / rival):6.1f} %" if rival else f"{'-':>15}"
        print(f"{size:12} {top1:7.2f} {match}")
    if logs:
        print(f"in the mean {100 * (1 - math.exp(sum(logs) / len(logs))):.1f} % smaller")


main()
