"""What the user wants: platform.yaml as frozen values.

model        Platform; one module per section holds its structs: pools operator queueing spot
             serving observability security waivers
values       durations, money, percentages, rates and quantities as typed values
load         platform.yaml to Platform, or every problem at once with its line
document     strict YAML with the line of everything in it
validate     what the JSON Schema forbids, in plain words
repair       the same declaration without its bad fields, for the cross-checks
crosscheck   what no single field shows; the rules are in rules_*, what they ask in view
derive       facts that follow: what pools advertise, how much of it, who uses what
schema dump  the JSON Schema for editors; a Platform back to YAML
"""
