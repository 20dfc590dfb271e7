"""What the user wants: platform.yaml as frozen values.

model        Platform; one module per section holds its structs: pools operator queueing spot
             serving observability security waivers
values       durations, money, percentages, rates and quantities as typed values
load         platform.yaml to Platform, or every problem at once with its line
derive       facts that follow: what pools advertise, how much of it, who uses what
crosscheck   what no single field shows: promises above capacity, layouts that do not fit, ...
schema dump  the JSON Schema for editors; a Platform back to YAML
"""
