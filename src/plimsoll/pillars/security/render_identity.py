"""How jobs prove who they are to the store of their checkpoints.

The accounts are there (render_homes); what they may do lies with the cloud, in numbers and names that no declaration
holds. What is left to do is said as the command that does it.
"""

from __future__ import annotations

from collections.abc import Iterator

from plimsoll.pillars.security.render_homes import JOBS
from plimsoll.pillars.security.render_network import remote
from plimsoll.spec.model import Platform


def notes(platform: Platform) -> Iterator[str]:
    storage = platform.spot.checkpoint.storage
    if not remote(platform):
        return
    if platform.security.identity == "spiffe":
        yield (
            f"Jobs reach {storage} with identities of SPIFFE: their pods mount a volume of the driver csi.spiffe.io. "
            "SPIRE itself is not installed from this file."
        )
    elif platform.security.identity == "cloud":
        spaces = [space for team in platform.teams for space in team.spaces]
        which = "in each of " + ", ".join(spaces[:5]) + (", …" if spaces[5:] else "") if spaces[1:] else ""
        yield (
            f"ServiceAccount {JOBS} reaches {storage} once the cloud says so{', ' + which if which else ''}: "
            f"{_command(platform, spaces[0])}"
        )


def _command(platform: Platform, space: str) -> str:
    """What gives the account of one namespace its rights; words in capitals are to be filled in."""
    provider = platform.cluster.provider
    scheme, _, rest = platform.spot.checkpoint.storage.partition("://")
    bucket = rest.partition("/")[0]
    if provider == "eks":
        region = f" --region {platform.cluster.region}" if platform.cluster.region else ""
        return (
            f"aws eks create-pod-identity-association{region} --cluster-name CLUSTER --namespace {space} "
            f"--service-account {JOBS} --role-arn ROLE   # a role that trusts pods.eks.amazonaws.com"
        )
    if provider == "gke":
        member = (
            "principal://iam.googleapis.com/projects/PROJECT_NUMBER/locations/global/workloadIdentityPools/"
            f"PROJECT_ID.svc.id.goog/subject/ns/{space}/sa/{JOBS}"
        )
        return (
            f"gcloud storage buckets add-iam-policy-binding {scheme}://{bucket} --role=roles/storage.objectUser "
            f"--member={member}"
        )
    if provider == "aks":
        return (
            f"az identity federated-credential create --name {space}-{JOBS} --identity-name IDENTITY "
            f"--resource-group GROUP --issuer ISSUER --subject system:serviceaccount:{space}:{JOBS} "
            f"--audiences api://AzureADTokenExchange && kubectl -n {space} annotate serviceaccount {JOBS} "
            "azure.workload.identity/client-id=CLIENT_ID   # and label the pods azure.workload.identity/use=true"
        )
    return (
        "let its identity provider trust the cluster's issuer (kubectl get --raw /.well-known/openid-configuration) "
        f"for system:serviceaccount:{space}:{JOBS}"
    )
