"""What is shipped for Prometheus and Grafana, as values.

model        recording rules, alerts and groups of them; promql: what their expressions share
devices      GPUs, under one name for both generations of the exporter
fleet        nodes, pools, teams: who holds what, and what it does; facts: what the declaration says, as series
queues       Kueue; serving: vLLM; cost: money, as the meter tells it
alerts_*     what somebody is told of
pack         all rules for a declaration
grafana      panels and dashboards; boards_*: the dashboards; boards: those a declaration has
"""
