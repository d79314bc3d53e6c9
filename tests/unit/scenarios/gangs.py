"""Rule 12: gangs, elastic gangs and stale ones."""

from .tables import Scenario

GANG = "KAI-Scheduler, actions/preempt, gangs"
ELASTIC = "KAI-Scheduler, actions/preempt, elastic jobs"

SCENARIOS = (
    Scenario(
        "members-are-placed-together", 12, "contract: placed together or not at all",
        nodes="""n1 2
                 n2 2""",
        queues="a quota=4",
        waiting="a1 a 1 x3",
        placed="a1 n1,n1,n2",
    ),
    Scenario(
        "a-gang-that-does-not-fit-takes-nothing", 12, "contract: placed together or not at all",
        nodes="n1 2",
        queues="a quota=4",
        waiting="""a1 a 1 x3
                   a2 a 1""",
        placed="a2 n1",
        waits="a1 Unschedulable",
    ),
    Scenario(
        "nobody-goes-for-a-gang-that-would-still-not-fit", 12, GANG + ": if not all tasks can be allocated",
        nodes="n1 1",
        queues="a quota=2",
        running="a1 a 1 n1 p=40",
        waiting="a2 a 1 x2 p=80",
        waits="a2 Unschedulable",
    ),
    Scenario(
        "one-goes-for-a-gang-that-then-fits", 12, GANG + ": if all tasks can be allocated",
        nodes="n1 2",
        queues="a quota=2",
        running="a1 a 1 n1 p=40",
        waiting="a2 a 1 x2 p=80",
        evicted="a1 preempted a2",
        waits="a2 WaitsForEvicted",
    ),
    Scenario(
        "a-gang-that-is-not-preemptible-stays-within-the-quota", 4, GANG + ": if it will go over quota",
        nodes="n1 4",
        queues="a quota=3",
        running="a1 a 1 n1 p=40",
        waiting="a2 a 2 x2 p=100 keep",
        waits="a2 NonPreemptibleOverQuota",
    ),
    Scenario(
        "a-gang-below-its-minimum-goes-whole", 12, GANG + ": preempt gang job",
        nodes="n1 4",
        queues="a quota=4",
        running="a1 a 2 n1,n1 p=40",
        waiting="a2 a 2 p=80",
        evicted="""a1/0 preempted a2
                   a1/1 preempted a2""",
        waits="a2 WaitsForEvicted",
    ),
    Scenario(
        "also-its-members-on-other-nodes-go", 12, "contract: evicted below minimum, the whole job goes",
        nodes="""n1 2
                 n2 2""",
        queues="""a quota=0
                  b quota=2""",
        running="""a1 a 2 n1,n2""",
        waiting="b1 b 2",
        evicted="""a1/0 reclaimed b1
                   a1/1 reclaimed b1""",
        waits="b1 WaitsForEvicted",
    ),
    Scenario(
        "a-single-job-goes-before-a-later-gang", 12, "least GPUs: what a gang has elsewhere counts",
        nodes="""n1 2
                 n2 2""",
        queues="""a quota=0
                  b quota=2""",
        running="""a1 a 1 n1
                   a2 a 1 n1,n2
                   b1 b 1 n2 keep""",
        waiting="b2 b 1",
        evicted="a1 reclaimed b2",
        waits="b2 WaitsForEvicted",
    ),
    Scenario(
        "nodes-are-cleared-on-both-sides-for-a-gang", 12, "a whole solution over several nodes",
        nodes="""n1 2
                 n2 2""",
        queues="""a quota=0
                  b quota=4""",
        running="""a1 a 2 n1
                   a2 a 2 n2""",
        waiting="b1 b 2 x2",
        evicted="""a1 reclaimed b1
                   a2 reclaimed b1""",
        waits="b1 WaitsForEvicted",
    ),
    Scenario(
        "one-large-gang-goes-rather-than-two-jobs", 12, "fewest workloads first",
        nodes="""n1 4
                 n2 4""",
        queues="""a quota=0
                  b quota=8""",
        running="""a1 a 2 n1
                   a2 a 2 n2
                   a3 a 2 n1,n2""",
        waiting="b1 b 2 x2",
        evicted="""a3/0 reclaimed b1
                   a3/1 reclaimed b1""",
        waits="b1 WaitsForEvicted",
    ),
    Scenario(
        "a-single-member-beyond-the-minimum-goes", 12, ELASTIC + ": a single task from an elastic train job",
        nodes="n1 2",
        queues="a quota=2",
        running="a1 a 1 n1,n1 min=1 p=40",
        waiting="a2 a 1 p=125 keep",
        evicted="a1/1 preempted a2",
        waits="a2 WaitsForEvicted",
    ),
    Scenario(
        "members-beyond-the-minimum-go-from-the-last-on", 12, ELASTIC + ": several tasks",
        nodes="n1 4",
        queues="a quota=4",
        running="a1 a 1 n1,n1,n1,n1 min=1 p=40",
        waiting="a2 a 2 p=125 keep",
        evicted="""a1/2 preempted a2
                   a1/3 preempted a2""",
        waits="a2 WaitsForEvicted",
    ),
    Scenario(
        "where-those-are-not-enough-all-go", 12, ELASTIC + ": all tasks",
        nodes="n1 2",
        queues="a quota=4",
        running="a1 a 1 n1,n1 min=1 p=40",
        waiting="a2 a 2 p=125 keep",
        evicted="""a1/0 preempted a2
                   a1/1 preempted a2""",
        waits="a2 WaitsForEvicted",
    ),
    Scenario(
        "one-member-and-a-job-beside-it-keep-the-minimum-running", 12,
        ELASTIC + ": a running job and a single task",
        nodes="n1 3",
        queues="a quota=3",
        running="""a1 a 1 n1,n1 min=1 p=40
                   a2 a 1 n1 p=40""",
        waiting="a3 a 2 p=125 keep",
        evicted="""a1/1 preempted a3
                   a2 preempted a3""",
        waits="a3 WaitsForEvicted",
    ),
    Scenario(
        "each-of-two-elastic-jobs-gives-one-member", 12,
        ELASTIC + ": a single task from several elastic train jobs",
        nodes="n1 4",
        queues="a quota=4",
        running="""a1 a 1 n1,n1 min=1 p=40
                   a2 a 1 n1,n1 min=1 p=40""",
        waiting="a3 a 2 p=125 keep",
        evicted="""a1/1 preempted a3
                   a2/1 preempted a3""",
        waits="a3 WaitsForEvicted",
    ),
    Scenario(
        "all-go-for-what-needs-the-whole-node", 12, ELASTIC + ": several jobs, one of them elastic",
        nodes="n1 4",
        queues="a quota=4",
        running="""a1 a 1 n1 p=40
                   a2 a 1 n1,n1 min=1 p=40
                   a3 a 1 n1 p=40""",
        waiting="a4 a 4 p=125 keep",
        evicted="""a1 preempted a4
                   a2/0 preempted a4
                   a2/1 preempted a4
                   a3 preempted a4""",
        waits="a4 WaitsForEvicted",
    ),
    Scenario(
        "a-member-beyond-the-minimum-goes-before-any-whole-job", 12,
        "contract: members beyond the minimum first",
        nodes="n1 3",
        queues="""a quota=1
                  b quota=1""",
        running="""a1 a 1 n1,n1 min=1
                   a2 a 1 n1""",
        waiting="b1 b 1",
        evicted="a1/1 reclaimed b1",
        waits="b1 WaitsForEvicted",
    ),
    Scenario(
        "one-more-member-does-not-evict-its-own-gang", 12, "never a victim of the asker's own gang",
        nodes="n1 2",
        queues="a quota=2",
        running="a1 a 1 n1,n1 p=40",
        waiting="a1+2 a 1 extra",
        waits="a1+2 Unschedulable",
    ),
    Scenario(
        "a-protected-member-keeps-its-gang", 16, "rules 12 and 16",
        nodes="""n1 1
                 n2 1""",
        queues="""a quota=0
                  b quota=1""",
        running="""a1 a 1 n1 of=g min=2
                   a2 a 1 n2 of=g min=2 protected""",
        waiting="b1 b 1",
        waits="b1 Unschedulable",
    ),
    Scenario(
        "a-stale-gang-is-evicted-for-nobody", 12, "KAI-Scheduler: stale gang eviction",
        nodes="n1 4",
        queues="a quota=4",
        running="""a1 a 1 n1 of=g min=3 stale
                   a2 a 1 n1 of=g min=3 stale""",
        evicted="""a1 stale
                   a2 stale""",
    ),
    Scenario(
        "a-stale-gang-that-leaves-is-not-evicted-again", 12,
        "a step done twice changes nothing the second time",
        nodes="n1 4",
        queues="a quota=4",
        running="""a1 a 1 n1 of=g min=2 stale leaving""",
    ),
    Scenario(
        "members-of-one-segment-are-made-room-for-in-one", 12, "contract: segments of near nodes",
        nodes="""n1 1 segment=s
                 n2 1 segment=s
                 n3 1 segment=t
                 n4 1 segment=t""",
        queues="""a quota=0
                  b quota=4""",
        running="""a1 a 1 n1
                   c1 b 1 n3 keep
                   c2 b 1 n4 keep""",
        waiting="b1 b 1 x2 segment=2",
        evicted="a1 reclaimed b1",
        waits="b1 WaitsForEvicted",
    ),
)  # fmt: skip
