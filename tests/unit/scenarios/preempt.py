"""Rule 11: inside a project, by priority. Rules 4 to 6 and 16 hold while it does."""

from .tables import Scenario

KAI = "KAI-Scheduler, actions/preempt"
CONTRACT = "docs.nvidia.com/run-ai, workload priority and preemption"

SCENARIOS = (
    Scenario(
        "a-strictly-higher-priority-preempts", 11, CONTRACT,
        nodes="n1 2",
        queues="a quota=2",
        running="a1 a 2 n1 p=40",
        waiting="a2 a 2 p=80",
        evicted="a1 preempted a2",
        waits="a2 WaitsForEvicted",
    ),
    Scenario(
        "an-equal-priority-does-not", 11, KAI,
        nodes="n1 2",
        queues="a quota=2",
        running="a1 a 2 n1 p=80",
        waiting="a2 a 2 p=80",
        waits="a2 Unschedulable",
    ),
    Scenario(
        "what-may-not-preempt-does-not", 11, "Lepton: only with can_preempt",
        nodes="n1 2",
        queues="a quota=2",
        running="a1 a 2 n1 p=40",
        waiting="a2 a 2 p=80 humble",
        waits="a2 Unschedulable",
    ),
    Scenario(
        "without-queues-priority-alone-decides", 11, "Lepton: a workspace of its own",
        nodes="n1 2",
        running="a1 - 2 n1 p=40",
        waiting="a2 - 2 p=80",
        evicted="a1 preempted a2",
        waits="a2 WaitsForEvicted",
    ),
    Scenario(
        "another-projects-work-is-not-preempted", 11, "contract: inside a project",
        nodes="n1 2",
        queues="""a quota=0 weight=0
                  b quota=2""",
        running="b1 b 2 n1 p=25",
        waiting="a1 a 2 p=125",
        waits="a1 Unschedulable",
    ),
    Scenario(
        "the-lowest-goes-first", 11, CONTRACT,
        nodes="n1 3",
        queues="a quota=3",
        running="""a1 a 1 n1 p=50
                   a2 a 1 n1 p=25
                   a3 a 1 n1 p=40""",
        waiting="a4 a 1 p=80",
        evicted="a2 preempted a4",
        waits="a4 WaitsForEvicted",
    ),
    Scenario(
        "of-equals-the-latest-goes-first", 11, CONTRACT,
        nodes="n1 3",
        queues="a quota=3",
        running="""a1 a 1 n1
                   a2 a 1 n1 age=900
                   a3 a 1 n1""",
        waiting="a4 a 1 p=80",
        evicted="a2 preempted a4",
        waits="a4 WaitsForEvicted",
    ),
    Scenario(
        "nobody-goes-where-it-would-not-fit-after-all", 11, KAI + ": only if it then fits",
        nodes="n1 2",
        queues="a quota=9",
        running="a1 a 2 n1 p=40",
        waiting="a2 a 3 p=80",
        waits="a2 Unschedulable",
    ),
    Scenario(
        "what-is-not-preemptible-preempts-within-the-quota", 11, "contract: quota rules hold",
        nodes="n1 2",
        queues="a quota=2",
        running="a1 a 2 n1",
        waiting="a2 a 2 p=100 keep",
        evicted="a1 preempted a2",
        waits="a2 WaitsForEvicted",
    ),
    Scenario(
        "and-not-beyond-it", 4, "contract: NonPreemptibleOverQuota",
        nodes="n1 2",
        queues="a quota=1",
        running="a1 a 2 n1",
        waiting="a2 a 2 p=100 keep",
        waits="a2 NonPreemptibleOverQuota",
    ),
    Scenario(
        "a-quota-of-nothing-still-runs-what-is-preemptible", 6, "contract: whenever resources are idle",
        nodes="n1 2",
        queues="a quota=0 weight=0",
        waiting="a1 a 2",
        placed="a1 n1",
    ),
    Scenario(
        "the-limit-makes-one-wait-beside-idle-gpus", 5, "contract: OverLimit",
        nodes="n1 4",
        queues="a quota=1 limit=2",
        running="a1 a 1 n1",
        waiting="a2 a 2",
        waits="a2 OverLimit",
    ),
    Scenario(
        "below-the-limit-a-higher-priority-takes-a-lowers-part", 11,
        "rules 5 and 11: the limit binds what runs at once",
        nodes="n1 4",
        queues="a quota=1 limit=2",
        running="""a1 a 1 n1 p=25
                   a2 a 1 n1 p=80""",
        waiting="a3 a 1 p=80",
        evicted="a1 preempted a3",
        waits="a3 WaitsForEvicted",
    ),
    Scenario(
        "the-departments-limit-binds-too", 5, "contract: at project and department",
        nodes="n1 4",
        queues="""d quota=2 limit=2
                  a in=d quota=2
                  b in=d quota=2""",
        running="a1 a 1 n1 keep",
        waiting="b1 b 2",
        waits="b1 OverLimit",
    ),
    Scenario(
        "minimum-runtime-protects-from-preemption", 16, "KAI-Scheduler, docs/plugins/minruntime",
        nodes="n1 2",
        queues="a quota=2",
        running="""a1 a 1 n1 p=25 protected
                   a2 a 1 n1 p=40""",
        waiting="a3 a 1 p=80",
        evicted="a2 preempted a3",
        waits="a3 WaitsForEvicted",
    ),
    Scenario(
        "where-one-must-be-not-preemptible-the-other-goes", 11, "contract: preemptible ones",
        nodes="n1 2",
        queues="a quota=2",
        running="""a1 a 1 n1 p=25 keep
                   a2 a 1 n1 p=50""",
        waiting="a3 a 1 p=80",
        evicted="a2 preempted a3",
        waits="a3 WaitsForEvicted",
    ),
    Scenario(
        "a-gpu-type-that-frees-nothing-useful-is-left-alone", 11, "only if it then fits",
        nodes="""n1 1 product=A100
                 n2 1 product=H100""",
        queues="a quota=2",
        running="""a1 a 1 n1 p=25
                   a2 a 1 n2 p=40""",
        waiting="a3 a 1 p=80 product=H100",
        evicted="a2 preempted a3",
        waits="a3 WaitsForEvicted",
    ),
    Scenario(
        "cpu-alone-is-preempted-for-too", 11, "contract: GPU, CPU and memory",
        nodes="n1 0 cpu=4",
        queues="a quota=0",
        running="""a1 a 0 n1 cpu=3 p=25
                   a2 a 0 n1 cpu=1 p=25""",
        waiting="a3 a 0 cpu=2 p=80",
        evicted="a1 preempted a3",
        waits="a3 WaitsForEvicted",
    ),
    Scenario(
        "reclaim-comes-before-preemption", 8, "contract: allocate, consolidation, reclaim, preempt",
        nodes="n1 4",
        queues="""a quota=2
                  b quota=2""",
        running="""a1 a 2 n1 p=25
                   b1 b 1 n1 p=25
                   b2 b 1 n1 keep""",
        waiting="b3 b 1 p=80",
        evicted="b1 preempted b3",
        waits="b3 WaitsForEvicted",
    ),
    Scenario(
        "a-project-below-its-share-takes-from-others-and-keeps-its-own", 8,
        "contract: reclaim first, then preempt",
        nodes="n1 4",
        queues="""a quota=2
                  b quota=2""",
        running="""a1 a 1 n1
                   a2 a 1 n1
                   a3 a 1 n1
                   b1 b 1 n1 p=25""",
        waiting="b2 b 1 p=80",
        evicted="a3 reclaimed b2",
        waits="b2 WaitsForEvicted",
    ),
    Scenario(
        "the-older-of-two-preemptors-is-served", 11, "contract: inside a queue priority, then age",
        nodes="n1 1",
        queues="a quota=1",
        running="a1 a 1 n1 p=25",
        waiting="""a2 a 1 p=80
                   a3 a 1 p=80""",
        evicted="a1 preempted a2",
        waits="""a2 WaitsForEvicted
                 a3 Unschedulable""",
    ),
    Scenario(
        "a-tolerated-node-is-made-room-on", 11, "Kubernetes: taints and tolerations",
        nodes="""n1 1 taint=special
                 n2 1""",
        queues="a quota=2",
        running="""a1 a 1 n1 p=25 tolerates=special
                   a2 a 1 n2 keep p=25""",
        waiting="""a3 a 1 p=80
                   a4 a 1 p=75 tolerates=special""",
        evicted="a1 preempted a4",
        waits="""a3 Unschedulable
                 a4 WaitsForEvicted""",
    ),
    Scenario(
        "only-nodes-with-the-label-are-made-room-on", 11, "Kubernetes: node affinity",
        nodes="""n1 1 label=zone:one
                 n2 1 label=zone:two""",
        queues="a quota=2",
        running="""a1 a 1 n1 p=25
                   a2 a 1 n2 p=40""",
        waiting="a3 a 1 p=80 on=zone:two",
        evicted="a2 preempted a3",
        waits="a3 WaitsForEvicted",
    ),
)  # fmt: skip
