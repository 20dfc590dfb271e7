"""The columns of FOCUS 1.2 and 1.3, in DuckDB's SQL, over the charges of focus_charges.py.

The platform is the provider: it sells GPU time of its pools, and its teams are the sub accounts. To 1.3 a pool's price
is the origin charge and every row one that was allocated from it: what tells such rows apart is in the Allocated
columns, all else is alike. FOCUS' own columns go first, ours begin with `x_`.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from plimsoll.cost.export import quoted

Version = Literal["1.2", "1.3"]
UNIT = "GPU-Hours"
TAG = "plimsoll/"  # prefix of tags that are ours; a pod's labels are the users' own, without a prefix

HOSTS = {"aws": "AWS", "gcp": "Google Cloud", "azure": "Microsoft", "oci": "Oracle"}
UNUSED = {
    "unallocated": "free to be held", "stranded": "left over by a MIG layout",
    "absent": "bought and not there", "host": "carved out for cores and memory",
}  # fmt: skip
HELD = {
    "productive": "busy",
    "low": "held, little done",
    "idle": "held, nothing done",
    "unmeasured": "held, not measured",
}


class Issuer(NamedTuple):
    """Who bills. platform: its name. account: what it is billed to. currency: ISO 4217. method: how it is divided.

    invoice: the number of the invoice these charges are on, where there is one.
    """

    platform: str
    account: str
    currency: str
    method: str
    invoice: str = ""


def _fixed(value: str, digits: int) -> str:
    """A whole number as a decimal with so many digits behind the point, exactly: `/` would make it a double."""
    return f"CAST({value} AS DECIMAL(18, 0)) * CAST('{10**-digits:.{digits}f}' AS DECIMAL({digits + 1}, {digits}))"


def _case(column: str, values: dict[str, str], other: str) -> str:
    listed = " ".join(f"WHEN {quoted(key)} THEN {quoted(value)}" for key, value in values.items())
    return f"CASE {column} {listed} ELSE {other} END"


def _object(pairs: dict[str, str], base: str = "''") -> str:
    """A JSON object as text: what the object `base` has, and the texts of `pairs` that are not empty; NULL if nothing.

    A label that bears one of our own names gives way to it: keys are unique.
    """
    names = {of: quoted(f'"{key}":') for key, of in pairs.items()}
    own = ", ".join(f"CASE WHEN {of} <> '' THEN {name} || to_json({of}) END" for of, name in names.items())
    merged = f"json_merge_patch(COALESCE(NULLIF({base}, ''), '{{}}'), '{{' || concat_ws(',', {own}) || '}}')"
    return f"NULLIF(CAST({merged} AS VARCHAR), '{{}}')"


_MONEY = _fixed("micro", 6)
_HOURS = _fixed("(gpu_us * 10 + 18) // 36", 9)
_SECONDS = _fixed("gpu_us", 6)
_HOLDER_ID = (
    "CASE WHEN job_uid <> '' THEN job_uid WHEN job <> '' THEN job WHEN workload <> '' THEN workload ELSE uid END"
)
_HOLDER = "CASE WHEN job <> '' THEN job WHEN workload <> '' THEN workload ELSE name END"
_HOLDER_TYPE = "CASE WHEN job <> '' THEN 'Job' WHEN workload <> '' THEN 'Workload' ELSE 'Pod' END"
_TAGS = {f"{TAG}{name}": name for name in ("team", "namespace", "model", "tenant")}
_IS_HELD = "uid <> ''"
_PRICED = "class <> ''"  # a row of tokens alone is no charge of a pool


def _where(platform: str) -> str:
    """The pool of a charge, or the platform where its nodes are in none."""
    return f"CASE WHEN pool <> '' THEN {quoted(platform + '/')} || pool ELSE {quoted(platform)} END"


def columns(version: Version, issuer: Issuer, billed: tuple[str, str], charged: tuple[str, str]) -> dict[str, str]:
    """Every column by name, as SQL, in order. billed, charged: SQL of the bounds of the month and of the period."""
    platform = quoted(issuer.platform)
    what = _case("class", {key: f"GPU time: {text}" for key, text in (HELD | UNUSED).items()}, "'Tokens answered'")
    sku = "COALESCE(NULLIF(sku, ''), 'GPU')"
    parts = ", ".join(f"NULLIF({name}, '')" for name in ("provider", "region", "instance_type", "capacity"))
    found = {
        "BilledCost": _MONEY,
        "BillingAccountId": quoted(issuer.account),
        "BillingAccountName": platform,
        "BillingAccountType": "'Platform'",
        "BillingCurrency": quoted(issuer.currency),
        "BillingPeriodEnd": billed[1],
        "BillingPeriodStart": billed[0],
        "ChargeCategory": "'Usage'",
        "ChargeClass": "CAST(NULL AS VARCHAR)",
        "ChargeDescription": what,
        "ChargeFrequency": "'Usage-Based'",
        "ChargePeriodEnd": charged[1],
        "ChargePeriodStart": charged[0],
        "CommitmentDiscountStatus": "CAST(NULL AS VARCHAR)",  # rules of ConsumedQuantity ask for it
        "ConsumedQuantity": _HOURS,
        "ConsumedUnit": quoted(UNIT),
        "ContractedCost": _MONEY,
        "EffectiveCost": _MONEY,
        "InvoiceId": quoted(issuer.invoice) if issuer.invoice else "CAST(NULL AS VARCHAR)",
        "InvoiceIssuerName": platform,
        "ListCost": _MONEY,
        "PricingCategory": "CASE WHEN capacity = 'spot' THEN 'Dynamic' ELSE 'Standard' END",
        "PricingQuantity": _HOURS,
        "PricingUnit": quoted(UNIT),
        "ProviderName": platform,
        "PublisherName": platform,
        "RegionId": "NULLIF(region, '')",
        "RegionName": "NULLIF(region, '')",
        "ServiceCategory": "'Compute'",
        "ServiceName": "'GPUs on Kubernetes'",
        "ServiceSubcategory": "'Containers'",
        "SkuId": sku,
        "SkuMeter": "'GPU time'",
        "SkuPriceDetails": _object({"InstanceType": "instance_type"}, "'{\"GpuCount\":1}'"),
        "SkuPriceId": f"concat_ws('/', {sku}, {parts})",
    }
    found |= _resources(issuer) if version == "1.2" else _allocated(issuer)
    return {name: found[name] for name in sorted(found)} | _own()


def _resources(issuer: Issuer) -> dict[str, str]:
    """1.2: the resource is what held, or the pool that nobody held."""
    return {
        "ResourceId": f"CASE WHEN {_IS_HELD} THEN {_HOLDER_ID} ELSE {_where(issuer.platform)} END",
        "ResourceName": f"CASE WHEN {_IS_HELD} THEN {_HOLDER} ELSE NULLIF(pool, '') END",
        "ResourceType": f"CASE WHEN {_IS_HELD} THEN {_HOLDER_TYPE} ELSE 'Pool' END",
        "SubAccountId": "NULLIF(team, '')",
        "SubAccountName": "NULLIF(team, '')",
        "SubAccountType": "CASE WHEN team <> '' THEN 'Team' END",
        "Tags": _object({f"{TAG}pool": "pool", **_TAGS}, "labels"),
    }


def _allocated(issuer: Issuer) -> dict[str, str]:
    """1.3: the resource is the pool, and what held is what it was allocated to."""
    ratio = f"CAST({_fixed('ratio', 12)} AS VARCHAR)"
    details = f"""'{{"Elements":[{{"AllocatedRatio":' || {ratio} || ',"UsageUnit":"{UNIT}","UsageQuantity":'
        || CAST({_HOURS} AS VARCHAR) || '}}]}}'"""
    return {
        "AllocatedMethodDetails": f"CASE WHEN {_PRICED} THEN {details} END",
        "AllocatedMethodId": f"CASE WHEN {_PRICED} THEN {quoted(issuer.method)} END",
        "AllocatedResourceId": f"CASE WHEN {_IS_HELD} THEN {_HOLDER_ID} END",
        "AllocatedResourceName": f"CASE WHEN {_IS_HELD} THEN {_HOLDER} END",
        "AllocatedTags": f"CASE WHEN {_PRICED} THEN {_object(_TAGS, 'labels')} END",
        "ChargeDescription": f"CASE WHEN {_PRICED} THEN 'GPU time of a pool' ELSE 'Tokens answered' END",
        "HostProviderName": _case("provider", HOSTS, f"COALESCE(NULLIF(provider, ''), {quoted(issuer.platform)})"),
        "ResourceId": _where(issuer.platform),
        "ResourceName": "NULLIF(pool, '')",
        "ResourceType": "'Pool'",
        "ServiceProviderName": quoted(issuer.platform),
        "Tags": _object({f"{TAG}pool": "pool"}),
    }


def _own() -> dict[str, str]:
    """What FOCUS has no column for."""
    texts = {"Team": "team", "Namespace": "namespace", "Job": "job", "JobUid": "job_uid", "Workload": "workload",
             "Model": "model", "Tenant": "tenant", "Pool": "pool", "Capacity": "capacity", "GpuProfile": "profile",
             "IdleClass": "class"}  # fmt: skip
    return {
        **{f"x_{name}": f"NULLIF({column}, '')" for name, column in texts.items()},
        "x_GpuSeconds": _SECONDS,
        "x_BusySeconds": _fixed("busy_ms", 3),
        "x_Joules": _fixed("energy_mj", 3),
        "x_Requests": "requests",
        "x_PromptTokens": "prompt",
        "x_OutputTokens": "output",
    }
