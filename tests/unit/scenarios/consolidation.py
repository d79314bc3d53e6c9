"""Rule 13: what runs is moved where all of it finds another place and the one that waits then fits."""

from .tables import Scenario

KAI = "KAI-Scheduler, actions/consolidation"

SCENARIOS = (
    Scenario(
        "of-two-half-full-nodes-one-is-cleared", 13, KAI + ": only first can be consolidated",
        nodes="""n1 4
                 n2 4""",
        queues="a quota=2",
        running="""a1 a 2 n1
                   a2 a 2 n2""",
        waiting="""a3 a 3
                   a4 a 2""",
        # The smaller of the two fits where it is, after which nothing can be moved.
        placed="a4 n1",
        waits="a3 Unschedulable",
    ),
    Scenario(
        "the-last-comer-is-moved", 13, KAI + ": only first can be consolidated, alone",
        nodes="""n1 4
                 n2 4""",
        queues="a quota=2",
        running="""a1 a 2 n1
                   a2 a 2 n2""",
        waiting="a3 a 3",
        evicted="a2 consolidated a3",
        waits="a3 WaitsForEvicted",
    ),
    Scenario(
        "a-job-too-large-for-any-node-moves-nobody", 13, KAI + ": only second can be consolidated",
        nodes="""n1 4
                 n2 4""",
        queues="a quota=2",
        running="""a1 a 2 n1
                   a2 a 2 n2""",
        waiting="""a3 a 5
                   a4 a 3""",
        evicted="a2 consolidated a4",
        waits="""a3 Unschedulable
                 a4 WaitsForEvicted""",
    ),
    Scenario(
        "the-smallest-move-is-made", 13, KAI + ": 2 jobs of 2 & 1 GPUs",
        nodes="""n1 4
                 n2 4""",
        queues="a quota=2",
        running="""a1 a 2 n1
                   a2 a 1 n2
                   a3 a 2 n2""",
        waiting="a4 a 3",
        evicted="a3 consolidated a4",
        waits="a4 WaitsForEvicted",
    ),
    Scenario(
        "one-workload-moves-rather-than-members-of-two", 13, "fewest workloads begin anew",
        nodes="""n1 4 label=zone:a
                 n2 4""",
        queues="a quota=8",
        running="""e0 a 1 n2 of=e min=1
                   e1 a 1 n1 of=e min=1 index=1
                   f0 a 1 n2 of=f min=1
                   f1 a 1 n1 of=f min=1 index=1
                   c  a 2 n1""",
        waiting="a1 a 2 on=zone:a",
        evicted="c consolidated a1",
        waits="a1 WaitsForEvicted",
    ),
    Scenario(
        "one-member-moves-rather-than-a-workload-of-as-many-gpus", 13, "then least GPUs",
        nodes="""n1 3 label=zone:a
                 n2 4""",
        queues="a quota=8",
        running="""e0 a 1 n2 of=e min=1
                   e1 a 1 n1 of=e min=1 index=1
                   c  a 2 n1""",
        waiting="a1 a 1 on=zone:a",
        evicted="e1 consolidated a1",
        waits="a1 WaitsForEvicted",
    ),
    Scenario(
        "of-two-pairs-the-one-with-fewer-gpus-moves", 13, "fewest workloads, then least GPUs",
        nodes="""n1 5 label=zone:a
                 n2 4 label=zone:a
                 n3 3
                 n4 3""",
        queues="a quota=20",
        running="""c1 a 2 n1
                   c2 a 3 n1
                   d1 a 2 n2
                   d2 a 2 n2""",
        waiting="a1 a 4 on=zone:a",
        evicted="""d1 consolidated a1
                   d2 consolidated a1""",
        waits="a1 WaitsForEvicted",
    ),
    Scenario(
        "nobody-moves-where-there-is-too-little-in-all", 13, KAI + ": can't consolidate",
        nodes="""n1 4
                 n2 4""",
        queues="a quota=2",
        running="""a1 a 3 n1
                   a2 a 3 n2""",
        waiting="a3 a 3",
        waits="a3 Unschedulable",
    ),
    Scenario(
        "nobody-moves-who-would-find-no-place", 13, KAI + ": every one of them gets a new place",
        nodes="""n1 4
                 n2 4""",
        queues="a quota=2",
        running="""a1 a 3 n1
                   a2 a 3 n2""",
        waiting="a3 a 2",
        waits="a3 Unschedulable",
    ),
    Scenario(
        "what-is-not-preemptible-is-not-moved", 13, "contract: running preemptible pods",
        nodes="""n1 4
                 n2 4""",
        queues="a quota=4",
        running="""a1 a 2 n1 keep
                   a2 a 2 n2 keep""",
        waiting="a3 a 3",
        waits="a3 Unschedulable",
    ),
    Scenario(
        "the-one-that-can-be-moved-is", 13, "contract: running preemptible pods",
        nodes="""n1 4
                 n2 4""",
        queues="a quota=4",
        running="""a1 a 2 n1
                   a2 a 2 n2 keep""",
        waiting="a3 a 3",
        evicted="a1 consolidated a3",
        waits="a3 WaitsForEvicted",
    ),
    Scenario(
        "two-are-moved-to-two-places", 13, "contract: every one of them gets a new place",
        nodes="""n1 4
                 n2 4
                 n3 4""",
        queues="a quota=4",
        running="""a1 a 1 n1
                   a2 a 1 n1
                   a3 a 3 n2 keep
                   a4 a 3 n3 keep""",
        waiting="a5 a 4",
        evicted="""a1 consolidated a5
                   a2 consolidated a5""",
        waits="a5 WaitsForEvicted",
    ),
    Scenario(
        "moving-comes-before-reclaiming", 8, "contract: allocate, consolidation, reclaim, preempt",
        nodes="""n1 4
                 n2 4""",
        queues="""a quota=2
                  b quota=6""",
        running="""a1 a 2 n1
                   a2 a 2 n2""",
        waiting="b1 b 4",
        evicted="a2 consolidated b1",
        waits="b1 WaitsForEvicted",
    ),
    Scenario(
        "nobody-moves-for-what-its-limit-holds-back", 13, "rules 5 and 13",
        nodes="""n1 4
                 n2 4""",
        queues="a quota=2 limit=6",
        running="""a1 a 2 n1
                   a2 a 2 n2""",
        waiting="a3 a 3",
        waits="a3 OverLimit",
    ),
    Scenario(
        "halves-of-two-devices-are-put-together", 14, "contract: several pods per device while the sum <= 1",
        nodes="n1 2",
        queues="a quota=2",
        running="""a1 a 0.5 n1:0
                   a2 a 0.5 n1:1""",
        waiting="a3 a 1",
        evicted="a2 consolidated a3",
        waits="a3 WaitsForEvicted",
    ),
    Scenario(
        "a-protected-job-is-not-moved", 16, "a move restarts it, too",
        nodes="""n1 4
                 n2 4""",
        queues="a quota=4",
        running="""a1 a 2 n1 protected
                   a2 a 2 n2 protected""",
        waiting="a3 a 3",
        waits="a3 Unschedulable",
    ),
    Scenario(
        "a-gang-that-has-lost-a-member-is-not-moved", 13, "it could only start anew with all of them",
        nodes="""n1 2
                 n2 2""",
        queues="a quota=4",
        running="""g1 a 1 n1 of=g min=2
                   a2 a 1 n2 keep""",
        waiting="a3 a 2",
        waits="a3 Unschedulable",
    ),
    Scenario(
        "a-gang-is-moved-whole", 13, "rules 12 and 13",
        nodes="""n1 4
                 n2 4
                 n3 4""",
        queues="a quota=8",
        running="""g  a 1 n1,n2
                   a2 a 3 n2 keep
                   a3 a 2 n3 keep""",
        waiting="a4 a 4",
        evicted="""g/0 consolidated a4
                   g/1 consolidated a4""",
        waits="a4 WaitsForEvicted",
    ),
    Scenario(
        "of-half-full-nodes-of-a-spread-pool-one-is-cleared", 13, "contract: and the pending job then fits",
        nodes="""n1 2
                 n2 2
                 n3 2
                 n4 2""",
        queues="a quota=8",
        running="""a1 a 1 n1
                   a2 a 1 n2
                   a3 a 1 n3
                   a4 a 1 n4""",
        waiting="a5 a 2",
        evicted="a4 consolidated a5",
        waits="a5 WaitsForEvicted",
        spread=True,
    ),
    Scenario(
        "members-of-one-segment-come-together-when-one-is-moved", 13, "contract: segments of near nodes",
        nodes="""n1 1 segment=s
                 n2 1 segment=s
                 n3 1 segment=t
                 n4 1 segment=t""",
        queues="""a quota=0
                  b quota=4""",
        running="""a1 a 1 n1
                   c1 b 1 n3 keep""",
        waiting="b1 b 1 x2 segment=2",
        evicted="a1 consolidated b1",
        waits="b1 WaitsForEvicted",
    ),
)  # fmt: skip
