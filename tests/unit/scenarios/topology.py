"""Members kept together in one domain of a label, or spread over its domains."""

from .tables import Scenario

SPREAD = "Kubernetes, topologySpreadConstraints"
TOGETHER = (
    "runai CLI, --required-pod-topology-key: nodes that have a label with this key and identical values"
)
ZONES = """n1 4 label=zone:a
           n2 4 label=zone:b
           n3 4 label=zone:b"""

SCENARIOS = (
    Scenario(
        "members-are-spread-evenly-over-zones-of-different-sizes", 15, SPREAD + ": maxSkew 1",
        nodes=ZONES,
        queues="a quota=12",
        waiting="j a 1 x4 spread=zone:1",
        placed="j n1,n2,n1,n2",
    ),
    Scenario(
        "a-member-waits-where-the-next-zone-is-full", 15, SPREAD + ": DoNotSchedule",
        nodes=ZONES,
        queues="a quota=12",
        running="""o a 4 n1 keep
                   j1 a 1 n2 of=j spread=zone:1""",
        waiting="j a 1 spread=zone:1",
        waits="j Unschedulable",
    ),
    Scenario(
        "a-larger-skew-lets-it-in", 15, SPREAD + ": maxSkew 2",
        nodes=ZONES,
        queues="a quota=12",
        running="""o a 4 n1 keep
                   j1 a 1 n2 of=j spread=zone:2""",
        waiting="j a 1 spread=zone:2",
        placed="j n2",
    ),
    Scenario(
        "it-goes-to-the-fuller-zone-where-it-only-should-be-spread", 15, SPREAD + ": ScheduleAnyway",
        nodes=ZONES,
        queues="a quota=12",
        running="""o a 4 n1 keep
                   j1 a 1 n2 of=j spread=zone:1?""",
        waiting="j a 1 spread=zone:1?",
        placed="j n2",
    ),
    Scenario(
        "the-zone-with-fewest-comes-first-where-it-only-should-be-spread", 15, SPREAD + ": ScheduleAnyway",
        nodes=ZONES,
        queues="a quota=12",
        running="j1 a 1 n2 of=j spread=zone:1?",
        waiting="j a 1 spread=zone:1?",
        placed="j n1",
    ),
    Scenario(
        "a-node-without-the-label-is-no-place", 15, SPREAD + ": nodes without the key are skipped",
        nodes="""n1 1 label=zone:a
                 n2 4""",
        queues="a quota=12",
        waiting="j a 2 spread=zone:1",
        waits="j Unschedulable",
    ),
    Scenario(
        "a-node-without-the-label-is-the-last-choice", 15, SPREAD + ": ScheduleAnyway",
        nodes="""n1 4 label=zone:a
                 n2 4""",
        queues="a quota=12",
        running="j1 a 1 n1 of=j spread=zone:1?",
        waiting="j a 1 spread=zone:1?",
        placed="j n1",
    ),
    Scenario(
        "a-zone-in-which-it-may-not-be-holds-nobody-back", 15, SPREAD + ": nodeTaintsPolicy Honor",
        nodes="""n1 4 label=zone:a taint=t
                 n2 4 label=zone:b
                 n3 4 label=zone:c""",
        queues="a quota=12",
        waiting="j a 1 x4 spread=zone:1",
        placed="j n2,n3,n2,n3",
    ),
    Scenario(
        "the-node-itself-is-a-domain-without-any-label", 15, SPREAD + ": kubernetes.io/hostname",
        nodes="""n1 4
                 n2 4
                 n3 1""",
        queues="a quota=12",
        waiting="j a 1 x5 spread=kubernetes.io/hostname:1",
        placed="j n3,n1,n2,n1,n2",
    ),
    Scenario(
        "a-gang-comes-into-one-zone", 15, TOGETHER,
        nodes="""n1 2 label=zone:a
                 n2 2 label=zone:b
                 n3 2 label=zone:b""",
        queues="a quota=12",
        waiting="j a 1 x3 together=zone",
        placed="j n2,n2,n3",
    ),
    Scenario(
        "of-zones-with-enough-room-binpack-takes-the-one-with-least", 15, TOGETHER,
        nodes="""n1 4 label=zone:a
                 n2 2 label=zone:b
                 n3 1 label=zone:c""",
        queues="a quota=12",
        waiting="j a 1 x2 together=zone",
        placed="j n2,n2",
    ),
    Scenario(
        "a-gang-waits-where-no-zone-has-room-for-all", 15, TOGETHER,
        nodes="""n1 2 label=zone:a
                 n2 2 label=zone:b""",
        queues="a quota=12",
        waiting="""j a 1 x3 together=zone
                   k a 1 x3""",
        placed="k n1,n1,n2",
        waits="j Unschedulable",
    ),
    Scenario(
        "a-gang-is-parted-where-it-only-should-be-together", 15, "--preferred-pod-topology-key: if possible",
        nodes="""n1 1 label=zone:a
                 n2 2 label=zone:b
                 n3 1 label=zone:c""",
        queues="a quota=12",
        waiting="j a 1 x3 together=zone?",
        placed="j n2,n2,n1",
    ),
    Scenario(
        "who-comes-later-goes-where-the-others-are", 15, TOGETHER,
        nodes="""n1 4 label=zone:a
                 n2 2 label=zone:b""",
        queues="a quota=12",
        running="j1 a 1 n1 of=j together=zone",
        waiting="j a 1 together=zone",
        placed="j n1",
    ),
    Scenario(
        "who-comes-later-waits-where-there-is-no-room-beside-the-others", 15, TOGETHER,
        nodes="""n1 1 label=zone:a
                 n2 2 label=zone:b""",
        queues="a quota=12",
        running="j1 a 1 n1 of=j together=zone keep",
        waiting="j a 1 together=zone keep",
        waits="j Unschedulable",
    ),
    Scenario(
        "room-is-made-where-the-others-are", 11, TOGETHER + "; rule 11",
        nodes="""n1 2 label=zone:a
                 n2 2 label=zone:b""",
        queues="a quota=4",
        running="""j1 a 1 n1 of=j together=zone p=80
                   o1 a 1 n1
                   o2 a 2 n2""",
        waiting="j a 1 together=zone p=80",
        evicted="o1 preempted j",
        waits="j WaitsForEvicted",
    ),
    Scenario(
        "nobody-is-evicted-in-a-zone-that-is-too-full-of-it", 11, SPREAD + "; rule 11",
        nodes="""n1 2 label=zone:a
                 n2 2 label=zone:b""",
        queues="a quota=4",
        running="""j1 a 1 n1 of=j spread=zone:1 p=80
                   o1 a 1 n1 p=25
                   o2 a 2 n2""",
        waiting="j a 1 spread=zone:1 p=80",
        evicted="o2 preempted j",
        waits="j WaitsForEvicted",
    ),
    Scenario(
        "together-in-a-zone-and-apart-on-its-nodes", 15, TOGETHER + "; " + SPREAD,
        nodes="""n1 4 label=zone:a
                 n2 2 label=zone:b
                 n3 2 label=zone:b""",
        queues="a quota=12",
        waiting="j a 1 x2 together=zone spread=kubernetes.io/hostname:1",
        placed="j n2,n3",
    ),
)  # fmt: skip
