"""Rule 10: between projects and departments, whatever the priority of the work."""

from .tables import Scenario

QUICK_START = "docs.nvidia.com/run-ai, over-quota, fairness and preemption quick start, doubled"
KAI = "KAI-Scheduler, actions/integration_tests/reclaim"
DEPARTMENTS = "KAI-Scheduler, actions/reclaim, departments"
FAIRNESS = "KAI-Scheduler, docs/fairness"

SCENARIOS = (
    Scenario(
        "idle-gpus-beyond-the-quota-are-used", 6, QUICK_START,
        nodes="n1 8",
        queues="""a quota=4
                  b quota=4""",
        running="a1 a 2 n1",
        waiting="a2 a 4",
        placed="a2 n1",
    ),
    Scenario(
        "the-smallest-job-that-makes-room-is-reclaimed", 10, QUICK_START,
        nodes="n1 8",
        queues="""a quota=4
                  b quota=4""",
        running="""a1 a 2 n1
                   a2 a 4 n1
                   b1 b 2 n1""",
        waiting="b2 b 2",
        evicted="a1 reclaimed b2",
        waits="b2 WaitsForEvicted",
    ),
    Scenario(
        "what-is-over-quota-by-one-large-job-loses-it-whole", 10, KAI + ": 1 train job running, 1 pending",
        nodes="n1 2",
        queues="""a quota=1
                  b quota=1""",
        running="a1 a 2 n1",
        waiting="b1 b 1",
        evicted="a1 reclaimed b1",
        waits="b1 WaitsForEvicted",
    ),
    Scenario(
        "the-latest-of-equal-jobs-is-reclaimed", 10,
        KAI + ": 2 jobs of queue 1 on 3 GPUs (the demo), equal jobs",
        nodes="n1 4",
        queues="""a quota=2
                  b quota=2""",
        running="""a1 a 1 n1
                   a2 a 1 n1
                   a3 a 1 n1
                   b1 b 1 n1""",
        waiting="b2 b 1",
        evicted="a3 reclaimed b2",
        waits="b2 WaitsForEvicted",
    ),
    Scenario(
        "the-lowest-priority-goes-before-the-latest", 10, "rule 11's order of victims, between projects",
        nodes="n1 3",
        queues="""a quota=1
                  b quota=2""",
        running="""a1 a 1 n1 p=40
                   a2 a 1 n1 p=25
                   a3 a 1 n1 p=90""",
        waiting="b1 b 1",
        evicted="a2 reclaimed b1",
        waits="b1 WaitsForEvicted",
    ),
    Scenario(
        "the-priority-of-the-victim-protects-it-from-nobody-elses-project", 10,
        "contract: ignores workload priority",
        nodes="n1 2",
        queues="""a quota=1
                  b quota=1""",
        running="a1 a 2 n1 p=90",
        waiting="b1 b 1 p=25",
        evicted="a1 reclaimed b1",
        waits="b1 WaitsForEvicted",
    ),
    Scenario(
        "nobody-is-reclaimed-for-what-exceeds-the-reclaimers-fair-share", 10,
        KAI + ": deserved of queue 1 is 1",
        nodes="""n1 2
                 n2 2""",
        queues="""a quota=2 weight=2
                  b quota=1 weight=1""",
        running="""a1 a 1 n2
                   a2 a 2 n1
                   b1 b 1 n2""",
        waiting="b2 b 1",
        waits="b2 Unschedulable",
    ),
    Scenario(
        "nobody-within-its-quota-is-reclaimed", 10, FAIRNESS,
        nodes="n1 4",
        queues="""a quota=4
                  b quota=0 weight=9""",
        running="a1 a 4 n1",
        waiting="b1 b 1",
        waits="b1 Unschedulable",
    ),
    Scenario(
        "beyond-the-quotas-weights-decide-who-reclaims", 10, FAIRNESS + ": in proportion to the weight",
        nodes="n1 6",
        queues="""a quota=0 weight=1
                  b quota=0 weight=2""",
        running="""a1 a 2 n1
                   a2 a 2 n1
                   a3 a 2 n1""",
        waiting="""b1 b 2
                   b2 b 2
                   b3 b 2""",
        evicted="""a3 reclaimed b1
                   a2 reclaimed b2""",
        waits="""b1 WaitsForEvicted
                 b2 WaitsForEvicted
                 b3 Unschedulable""",
    ),
    Scenario(
        "beyond-the-quotas-the-higher-rank-has-it-all", 7, FAIRNESS + ": surplus is given by priority",
        nodes="n1 4",
        queues="""a quota=0
                  b quota=0 rank=1""",
        running="""a1 a 2 n1
                   a2 a 2 n1""",
        waiting="b1 b 4",
        evicted="""a1 reclaimed b1
                   a2 reclaimed b1""",
        waits="b1 WaitsForEvicted",
    ),
    Scenario(
        "a-queue-without-weight-has-no-part-in-what-is-over", 7,
        "contract: weight 0 gets nothing in this step",
        nodes="n1 4",
        queues="""a quota=0 weight=1
                  b quota=0 weight=0""",
        running="a1 a 4 n1",
        waiting="b1 b 1",
        waits="b1 Unschedulable",
    ),
    Scenario(
        "what-is-not-preemptible-is-never-reclaimed", 10, "contract: only preemptible",
        nodes="n1 2",
        queues="""a quota=1
                  b quota=1""",
        running="a1 a 2 n1 keep",
        waiting="b1 b 1",
        waits="b1 Unschedulable",
    ),
    Scenario(
        "what-is-preemptible-beside-it-is", 10, "contract: only preemptible",
        nodes="n1 4",
        queues="""a quota=2
                  b quota=2""",
        running="""a1 a 2 n1 keep
                   a2 a 2 n1""",
        waiting="b1 b 2",
        evicted="a2 reclaimed b1",
        waits="b1 WaitsForEvicted",
    ),
    Scenario(
        "what-is-not-preemptible-reclaims-within-its-quota", 10, DEPARTMENTS + ": interactive reclaims train",
        nodes="n1 2",
        queues="""d quota=1
                  e quota=1
                  a in=d quota=1
                  b in=e quota=1""",
        running="""a1 a 1 n1
                   a2 a 1 n1 keep p=100""",
        waiting="b1 b 1 keep p=100",
        evicted="a1 reclaimed b1",
        waits="b1 WaitsForEvicted",
    ),
    Scenario(
        "what-is-not-preemptible-reclaims-nothing-beyond-its-quota", 10,
        "contract: non-preemptible <= deserved",
        nodes="n1 4",
        queues="""a quota=0
                  b quota=1 weight=9""",
        running="""a1 a 2 n1
                   a2 a 2 n1""",
        waiting="b1 b 2 keep",
        waits="b1 NonPreemptibleOverQuota",
    ),
    Scenario(
        "minimum-runtime-protects-from-reclaim", 16, "KAI-Scheduler, docs/plugins/minruntime",
        nodes="n1 4",
        queues="""a quota=2
                  b quota=2""",
        running="""a1 a 2 n1
                   a2 a 2 n1 protected""",
        waiting="b1 b 2",
        evicted="a1 reclaimed b1",
        waits="b1 WaitsForEvicted",
    ),
    Scenario(
        "where-all-are-protected-one-waits", 16, "KAI-Scheduler, docs/plugins/minruntime",
        nodes="n1 4",
        queues="""a quota=2
                  b quota=2""",
        running="a1 a 4 n1 protected",
        waiting="b1 b 2",
        waits="b1 Unschedulable",
    ),
    Scenario(
        "what-leaves-already-is-waited-for", 10, "a second cycle evicts nobody for what the first made room",
        nodes="n1 8",
        queues="""a quota=4
                  b quota=4""",
        running="""a1 a 2 n1 leaving
                   a2 a 4 n1
                   b1 b 2 n1""",
        waiting="b2 b 2",
        waits="b2 WaitsForEvicted",
    ),
    Scenario(
        "two-of-the-same-queue-reclaim-up-to-its-share", 10,
        "each solution counts what the ones before it took",
        nodes="n1 4",
        queues="""a quota=2
                  b quota=2""",
        running="""a1 a 1 n1
                   a2 a 1 n1
                   a3 a 1 n1
                   a4 a 1 n1""",
        waiting="""b1 b 1
                   b2 b 1
                   b3 b 1""",
        evicted="""a4 reclaimed b1
                   a3 reclaimed b2""",
        waits="""b1 WaitsForEvicted
                 b2 WaitsForEvicted
                 b3 Unschedulable""",
    ),
    Scenario(
        "what-a-large-victim-leaves-over-is-used-before-another-is-evicted", 10,
        "smallest sufficient victim set",
        nodes="n1 4",
        queues="""a quota=0
                  b quota=4""",
        running="""a1 a 2 n1
                   a2 a 2 n1""",
        waiting="""b1 b 1
                   b2 b 1""",
        evicted="a2 reclaimed b1",
        waits="""b1 WaitsForEvicted
                 b2 WaitsForEvicted""",
    ),
    Scenario(
        "fewest-workloads-go-though-they-be-larger", 10,
        "smallest sufficient victim set: fewest workloads first",
        nodes="n1 6",
        queues="""a quota=0
                  b quota=3""",
        running="""a1 a 3 n1
                   a2 a 1 n1
                   a3 a 1 n1
                   a4 a 1 n1""",
        waiting="b1 b 3",
        evicted="a1 reclaimed b1",
        waits="b1 WaitsForEvicted",
    ),
    Scenario(
        "both-halves-of-one-node-go-and-those-elsewhere-stay", 10, "smallest sufficient victim set",
        nodes="""n1 2
                 n2 2""",
        queues="""a quota=1
                  b quota=3""",
        running="""a1 a 1 n1
                   a2 a 1 n1
                   a3 a 1 n2
                   b1 b 1 n2 keep""",
        waiting="b2 b 2",
        evicted="""a1 reclaimed b2
                   a2 reclaimed b2""",
        waits="b2 WaitsForEvicted",
    ),
    Scenario(
        "a-free-gpu-of-the-node-is-counted-in", 10, "fewest victims: what is free already need not be freed",
        nodes="""n1 4
                 n2 4""",
        queues="""a quota=2
                  b quota=4""",
        running="""a1 a 1 n1
                   a2 a 1 n1
                   a3 a 1 n1
                   a4 a 2 n2
                   a5 a 2 n2""",
        waiting="b1 b 3",
        evicted="""a2 reclaimed b1
                   a3 reclaimed b1""",
        waits="b1 WaitsForEvicted",
    ),
    Scenario(
        "half-a-device-is-reclaimed-for-half-a-device", 14,
        KAI + ": queue 0 is under fair share, queue 1 over",
        nodes="n1 4",
        queues="""a quota=1 weight=3
                  b quota=2 weight=1""",
        running="""a1 a 1 n1
                   a2 a 0.5 n1:1
                   b1 b 2 n1
                   b2 b 0.5 n1:1""",
        waiting="a3 a 0.5",
        evicted="b2 reclaimed a3",
        waits="a3 WaitsForEvicted",
    ),
    Scenario(
        "a-whole-device-needs-both-halves-gone", 14, "contract: portions of one device",
        nodes="n1 1",
        queues="""a quota=0
                  b quota=1""",
        running="""a1 a 0.5 n1:0
                   a2 a 0.5 n1:0""",
        waiting="b1 b 1",
        evicted="""a1 reclaimed b1
                   a2 reclaimed b1""",
        waits="b1 WaitsForEvicted",
    ),
    Scenario(
        "departments-are-compared-where-the-branches-differ", 10,
        DEPARTMENTS + ": classic reclaim for train jobs",
        nodes="n1 2",
        queues="""d quota=1
                  e quota=1
                  a in=d quota=1
                  b in=e quota=1""",
        running="""a1 a 1 n1
                   a2 a 1 n1""",
        waiting="b1 b 1",
        evicted="a2 reclaimed b1",
        waits="b1 WaitsForEvicted",
    ),
    Scenario(
        "a-department-at-its-share-reclaims-nothing", 10, DEPARTMENTS + ": department would be over quota",
        nodes="n1 4",
        queues="""d quota=2
                  e quota=2
                  a in=d quota=1
                  b in=e quota=1
                  c in=e quota=1""",
        running="""a1 a 3 n1
                   b1 b 1 n1 p=100""",
        waiting="b2 b 2",
        waits="b2 Unschedulable",
    ),
    Scenario(
        "of-two-departments-jobs-the-smaller-goes", 10, DEPARTMENTS + ": according to deserved quota",
        nodes="n1 8",
        queues="""d quota=1
                  e quota=1
                  a in=d quota=1
                  b in=e quota=1""",
        running="""a1 a 4 n1
                   a2 a 1 n1""",
        waiting="b1 b 4",
        evicted="a2 reclaimed b1",
        waits="b1 WaitsForEvicted",
    ),
    Scenario(
        "ones-own-department-and-another-are-reclaimed-together", 10,
        DEPARTMENTS + ": different and same department",
        nodes="n1 4",
        queues="""d quota=0
                  e quota=4
                  a in=d quota=1
                  b in=e quota=0 weight=0
                  c in=e quota=4 weight=4""",
        running="""a1 a 2 n1
                   b1 b 2 n1""",
        waiting="c1 c 4",
        evicted="""a1 reclaimed c1
                   b1 reclaimed c1""",
        waits="c1 WaitsForEvicted",
    ),
    Scenario(
        "a-project-with-quota-cannot-reclaim-what-its-department-has-not", 10, DEPARTMENTS + ": by fairness",
        nodes="n1 4",
        queues="""d quota=1
                  e quota=1
                  a in=d quota=3 weight=3
                  b in=e quota=1""",
        running="""a1 a 2 n1
                   b1 b 2 n1""",
        waiting="a2 a 1",
        waits="a2 Unschedulable",
    ),
    Scenario(
        "the-departments-quota-binds-what-is-not-preemptible", 4,
        DEPARTMENTS + ": interactive will not go over quota",
        nodes="n1 4",
        queues="""d quota=1
                  e quota=1
                  a in=d quota=3
                  b in=e quota=3""",
        running="""a1 a 1 n1 keep p=100
                   b1 b 3 n1""",
        waiting="a2 a 1 keep p=100",
        waits="a2 NonPreemptibleOverQuota",
    ),
    Scenario(
        "a-department-below-its-fair-share-reclaims-beyond-its-quota", 10,
        DEPARTMENTS + ": train goes over quota",
        nodes="n1 4",
        queues="""d quota=1
                  e quota=1
                  a in=d quota=1
                  b in=e quota=1""",
        running="""a1 a 1 n1
                   b1 b 3 n1""",
        waiting="a2 a 1",
        evicted="b1 reclaimed a2",
        waits="a2 WaitsForEvicted",
    ),
    Scenario(
        "of-a-department-over-its-share-the-project-over-its-own-pays", 10,
        FAIRNESS + ": quota is guaranteed",
        nodes="n1 6",
        queues="""d quota=4
                  e quota=2
                  a in=d quota=2
                  b in=d quota=2
                  c in=e quota=2""",
        running="""b1 b 2 n1
                   b2 b 2 n1
                   a1 a 2 n1""",
        waiting="c1 c 2",
        evicted="b2 reclaimed c1",
        waits="c1 WaitsForEvicted",
    ),
    Scenario(
        "another-pools-quota-is-another-account", 1, "contract: all accounting is per pool",
        nodes="""n1 2 pool=p
                 n2 2 pool=q""",
        queues="""a quota=2 pool=p
                  b quota=2 pool=q""",
        running="""a1 a 2 n1
                   a2 a 2 n2""",
        waiting="b1 b 2 pool=q",
        evicted="a2 reclaimed b1",
        waits="b1 WaitsForEvicted",
    ),
)  # fmt: skip
