"""Every reason a verdict can have: one stable code, whom it blames, a plain sentence, the next step.

The codes are part of the public interface (reports, exit messages, dashboards): a code is never renamed or reused.
The README's table is made from this enum and a test compares the two.
"""

from __future__ import annotations

import enum


class Blames(enum.Enum):
    """Who has to act; this decides the outcome."""

    NOBODY = "nobody"  # BLESSED
    MODEL = "model"  # NOT_BLESSED
    INFRASTRUCTURE = "infrastructure"  # INCONCLUSIVE
    USAGE = "usage"  # INCONCLUSIVE; nothing was started


class ReasonCode(enum.Enum):
    """A reason code. ``name`` is the code.

    Attributes:
      blames: whom it blames.
      heals: whether trying again can change the outcome.
      sentence: what happened, in plain words.
      next_step: what to do.
    """

    blames: Blames
    heals: bool
    sentence: str
    next_step: str

    def __new__(cls, blames: Blames, heals: bool, sentence: str, next_step: str) -> ReasonCode:
        member = object.__new__(cls)
        member._value_ = (len(cls.__members__), blames.value)
        member.blames = blames
        member.heals = heals
        member.sentence = sentence
        member.next_step = next_step
        return member

    # --- the model is fine
    BLESSED = (
        Blames.NOBODY,
        False,
        "The model was loaded and served.",
        "Nothing to do.",
    )

    # --- the model: what is on disk
    MODEL_NOT_A_SAVED_MODEL = (
        Blames.MODEL,
        False,
        "The directory holds no readable SavedModel.",
        "Export the model again and check that saved_model.pb is there and whole.",
    )
    MODEL_FILES_INCOMPLETE = (
        Blames.MODEL,
        False,
        "Files that the model's graph needs are missing.",
        "Copy or export the whole SavedModel directory, with variables/ and assets/.",
    )
    MODEL_REPOSITORY_BROKEN = (
        Blames.MODEL,
        False,
        "The model's directory is not laid out as its server reads it.",
        "Correct the file that is named, and export the model again.",
    )
    TAG_SET_NOT_FOUND = (
        Blames.MODEL,
        False,
        "The SavedModel has no graph with the tags asked for.",
        "Export with these tags, or name the model's tags in request_spec.tensorflow_serving.tag_set.",
    )
    SIGNATURE_NOT_FOUND = (
        Blames.MODEL,
        False,
        "The model has no such signature.",
        "Export the signature, or name one that the model has.",
    )
    SIGNATURE_NOT_SUPPORTED = (
        Blames.USAGE,
        False,
        "Sample requests for this signature cannot be made from examples.",
        "Name a signature with one string input, or give the requests in a file (--requests).",
    )

    # --- the model: loading
    MODEL_LOAD_FAILED = (
        Blames.MODEL,
        False,
        "The model server could not load the model.",
        "Read the server's message; load the model with the same server version by hand.",
    )
    OP_NOT_REGISTERED = (
        Blames.MODEL,
        False,
        "The model uses an operation that the serving binary lacks.",
        "Serve with a binary that has the operation, or export the model without it.",
    )
    WARMUP_FAILED = (
        Blames.MODEL,
        False,
        "The server refuses the model because of its warm-up file (assets.extra/tf_serving_warmup_requests).",
        "Make the file again with this model's signatures (request_spec.make_warmup), or remove it.",
    )
    LOAD_TIMEOUT = (
        Blames.MODEL,
        True,
        "The model was not ready within max_loading_time_seconds.",
        "Read the server's log; raise validation_spec.max_loading_time_seconds if the model is only large.",
    )
    MODEL_UNAVAILABLE = (
        Blames.MODEL,
        False,
        "The server says that the model will not become available.",
        "Read the server's message and log.",
    )

    # --- the model: the server's end
    SERVER_EXITED = (
        Blames.MODEL,
        True,
        "The model server exited before the validation was done.",
        "Read the server's last lines in the report.",
    )
    SERVER_KILLED = (
        Blames.MODEL,
        True,
        "The model server was ended by a signal.",
        "A crash in native code: read the server's last lines; try the model with the same binary by hand.",
    )
    SERVER_OUT_OF_MEMORY = (
        Blames.MODEL,
        False,
        "The model server ran out of memory.",
        "Give the server more memory in the serving spec, or make the model smaller.",
    )
    SERVER_UNHEALTHY = (
        Blames.MODEL,
        True,
        "The model server runs but does not answer as a model server does.",
        "Check that the serving binary is the right one and read its log.",
    )
    RUNTIME_BROKE_CONTRACT = (
        Blames.MODEL,
        False,
        "The model runtime does not keep model-mesh's ModelRuntime contract.",
        "Run `infra-validator model-runtime conformance` against the runtime; docs/model_runtime.md has the contract.",
    )
    JOB_ABORTED = (
        Blames.MODEL,
        True,
        "The platform ended the model server job while it was being validated.",
        "Look for evictions, deletions or restarts on the platform; run the validation again.",
    )

    # --- the model: requests
    ANSWER_UNREADABLE = (
        Blames.MODEL,
        False,
        "An answer of the server cannot be read.",
        "Ask the model by hand with the same request; check the serving binary's version.",
    )
    ANSWER_OUTPUTS_DIFFER = (
        Blames.MODEL,
        False,
        "An answer does not name the outputs of the signature.",
        "Compare the signature that was exported with what the server returns.",
    )
    ANSWER_TYPE_DIFFERS = (
        Blames.MODEL,
        False,
        "An output has another type or shape than the signature declares.",
        "Export the signature with the types and shapes that the model returns.",
    )
    ANSWER_NOT_FINITE = (
        Blames.MODEL,
        False,
        "An answer holds NaN or infinity.",
        "Find the input that makes it; if infinities are meant, list the output in validation_spec.answers.infinite.",
    )
    ANSWER_OUT_OF_RANGE = (
        Blames.MODEL,
        False,
        "An answer lies outside what validation_spec.answers allows.",
        "Look at the value that is named; correct the model, or the limit.",
    )
    ANSWER_CONSTANT = (
        Blames.MODEL,
        False,
        "Different requests got the same answer.",
        "Check that the model uses its inputs; or take the output out of validation_spec.answers.not_constant.",
    )
    ANSWER_DIFFERS = (
        Blames.MODEL,
        False,
        "An answer differs from the one that it is compared with.",
        "Look at the worst difference that is named; raise the tolerance only if it is meant.",
    )
    ANSWER_CHECK_FAILED = (
        Blames.MODEL,
        False,
        "An answer does not pass a check of an installed package.",
        "Look at what the check says of the answer; correct the model, or what the check is told in validation_spec.answers.",
    )
    LIMIT_EXCEEDED = (
        Blames.MODEL,
        False,
        "The model does not keep a limit of validation_spec.limits.",
        "Look at what was measured, in the report; make the model smaller or faster, or correct the limit.",
    )
    SIGNATURE_BROKE = (
        Blames.MODEL,
        False,
        "Callers of the model that is expected cannot call this one.",
        "Export what is named as it was, or move the callers first and change what is expected.",
    )
    REQUEST_FAILED = (
        Blames.MODEL,
        False,
        "A sample request was answered with an error.",
        "Send the same request to the same server by hand; the report holds the error.",
    )
    QUERY_TIMEOUT = (
        Blames.MODEL,
        True,
        "The sample requests were not answered within max_query_time_seconds.",
        "Raise validation_spec.max_query_time_seconds or make the model faster.",
    )
    TOTAL_TIMEOUT = (
        Blames.INFRASTRUCTURE,
        False,
        "The validation did not end within total_time_seconds.",
        "Raise validation_spec.total_time_seconds.",
    )

    # --- the caller
    WRONG_USAGE = (
        Blames.USAGE,
        False,
        "The arguments make no sense.",
        "Correct the argument that is named.",
    )
    BAD_SPEC = (
        Blames.USAGE,
        False,
        "A spec is wrong.",
        "Correct the field that is named; docs/specs.md lists all fields.",
    )
    BAD_REQUESTS = (
        Blames.USAGE,
        False,
        "The sample requests are wrong.",
        "Correct the line, record or field that is named.",
    )

    # --- the infrastructure: files
    MODEL_NOT_FOUND = (
        Blames.INFRASTRUCTURE,
        False,
        "There is no model at the path given.",
        "Check the path; the model must exist before it can be validated.",
    )
    MODEL_NOT_READABLE = (
        Blames.INFRASTRUCTURE,
        False,
        "The model's files cannot be read by the validator or the server.",
        "Give read permission on the files to the user that is named.",
    )
    EXAMPLES_NOT_READABLE = (
        Blames.INFRASTRUCTURE,
        False,
        "The examples cannot be read.",
        "Check the file that is named; make the Examples artifact again if it is damaged.",
    )
    NO_EXAMPLES = (
        Blames.INFRASTRUCTURE,
        False,
        "There are no examples to make sample requests of.",
        "Name a split that has examples in request_spec.split_name.",
    )
    NO_SPACE = (
        Blames.INFRASTRUCTURE,
        False,
        "There is no room left on a disk that the validation needs.",
        "Free some space on the file system that is named.",
    )
    RESOURCES_EXHAUSTED = (
        Blames.INFRASTRUCTURE,
        True,
        "The validator's own process has no file descriptor, thread or memory left.",
        "Raise its limits (ulimit -n, ulimit -u, its container's memory), or run fewer things in one process.",
    )
    OUTPUT_NOT_WRITABLE = (
        Blames.INFRASTRUCTURE,
        False,
        "The result cannot be written.",
        "Check the path and its permissions.",
    )

    # --- the infrastructure: local process
    BINARY_NOT_FOUND = (
        Blames.INFRASTRUCTURE,
        False,
        "The serving binary is not there.",
        "Install it, put it on the PATH, or name it in local_process.binary_path.",
    )
    BINARY_NOT_EXECUTABLE = (
        Blames.INFRASTRUCTURE,
        False,
        "The serving binary cannot be executed.",
        "Check the file's type, its permissions and its interpreter line.",
    )
    OP_NOT_IN_STAND_IN = (
        Blames.INFRASTRUCTURE,
        False,
        "The embedded model server lacks an operation that TensorFlow Serving's own binary has.",
        "Install the extra that is named, or validate on a real TensorFlow Serving (local_process.binary_path, an image).",
    )
    EMBEDDED_SERVER_NOT_INSTALLED = (
        Blames.INFRASTRUCTURE,
        False,
        "The embedded model server needs TensorFlow's wheel for its C library, and it is not installed.",
        "pip install 'infra-validator[embedded]'",
    )
    PORT_NOT_AVAILABLE = (
        Blames.INFRASTRUCTURE,
        True,
        "The port for the model server is taken.",
        "Free the port or leave the choice to the runner.",
    )
    SERVER_NOT_OURS = (
        Blames.INFRASTRUCTURE,
        True,
        "Another server answers at the model server's address.",
        "Stop the other server; do not share ports between servers.",
    )
    PLATFORM_NOT_INSTALLED = (
        Blames.INFRASTRUCTURE,
        False,
        "This serving platform cannot be used here: a package is missing, or the operating system is not the right one.",
        "Install the extra that is named, or use another platform.",
    )
    SERVER_BROKEN = (
        Blames.INFRASTRUCTURE,
        False,
        "A part of the model server itself ended before it had to do with the model.",
        "Mend the server's image or environment: read the words of its log, and start it by hand with another model.",
    )
    SANDBOX_NOT_AVAILABLE = (
        Blames.INFRASTRUCTURE,
        False,
        "The sandbox that the serving spec requires cannot be used here.",
        "Install bubblewrap and allow user namespaces, validate in a container, or set local_process.sandbox to auto.",
    )
    SERVER_NOT_STARTED = (
        Blames.INFRASTRUCTURE,
        True,
        "The platform could not start the model server.",
        "Read the platform's message.",
    )
    # --- the infrastructure: containers and their images
    DOCKER_NOT_RUNNING = (
        Blames.INFRASTRUCTURE,
        True,
        "There is no Docker daemon at the address.",
        "Start Docker, or set DOCKER_HOST or serving_spec.local_docker.client_base_url.",
    )
    DOCKER_NOT_ANSWERING = (
        Blames.INFRASTRUCTURE,
        True,
        "The Docker daemon does not answer in time.",
        "Check the daemon's address and load; raise serving_spec.local_docker.client_timeout_seconds if it is only slow.",
    )
    DOCKER_PERMISSION_DENIED = (
        Blames.INFRASTRUCTURE,
        False,
        "This user may not talk to the Docker daemon.",
        "Add the user to the group that owns the daemon's socket (usually: docker), then log in again.",
    )
    DOCKER_TLS_FAILED = (
        Blames.INFRASTRUCTURE,
        False,
        "The Docker daemon and this client do not trust each other.",
        "Check DOCKER_TLS_VERIFY and the certificates in DOCKER_CERT_PATH.",
    )
    DOCKER_API_VERSION = (
        Blames.INFRASTRUCTURE,
        False,
        "The Docker daemon does not speak the API version that was asked for.",
        "Leave serving_spec.local_docker.client_api_version empty, or name a version that the daemon has.",
    )
    IMAGE_NOT_FOUND = (
        Blames.INFRASTRUCTURE,
        False,
        "There is no such image.",
        "Check the image's name and its tag or digest in serving_spec.tensorflow_serving.",
    )
    IMAGE_PULL_DENIED = (
        Blames.INFRASTRUCTURE,
        False,
        "The registry refuses to hand out the image.",
        "Check the image's name; log in to its registry (docker login) as the user that runs the validation.",
    )
    IMAGE_PULL_FAILED = (
        Blames.INFRASTRUCTURE,
        True,
        "The image could not be pulled.",
        "Check that the platform reaches the image's registry; read its message.",
    )
    IMAGE_PULL_TIMEOUT = (
        Blames.INFRASTRUCTURE,
        True,
        "The image was not pulled in time.",
        "Pull it beforehand, or raise the limit of the pull in the serving spec.",
    )
    IMAGE_WRONG_ARCHITECTURE = (
        Blames.INFRASTRUCTURE,
        False,
        "The image is for another kind of processor.",
        "Use an image for the processor of the machine that runs the container.",
    )
    IMAGE_COMMAND_NOT_FOUND = (
        Blames.INFRASTRUCTURE,
        False,
        "The image's entry point cannot be executed.",
        "Check the image's ENTRYPOINT: the file must exist in the image and be executable for the container's user.",
    )
    IMAGE_NEEDS_WRITABLE_ROOT = (
        Blames.INFRASTRUCTURE,
        False,
        "The server writes to its root file system, which is mounted read-only.",
        "Set serving_spec.local_docker.read_only_root to false.",
    )
    ADDRESS_NOT_AVAILABLE = (
        Blames.INFRASTRUCTURE,
        False,
        "The server's port cannot be published on the address that was chosen.",
        "Name an address of the daemon's machine in serving_spec.local_docker.publish_address: 127.0.0.1 where the daemon and the "
        "validator share a network.",
    )
    GPU_NOT_AVAILABLE = (
        Blames.INFRASTRUCTURE,
        False,
        "The platform has no such GPU for the server.",
        "Install the GPU's container toolkit on that machine, or leave serving_spec.local_docker.gpus empty.",
    )
    MODEL_NOT_VISIBLE = (
        Blames.INFRASTRUCTURE,
        False,
        "The platform does not see the model's files where the validator sees them.",
        "Set serving_spec.local_docker.model_delivery to upload, or put the model where both see it.",
    )
    MODEL_LINKS_OUTSIDE = (
        Blames.INFRASTRUCTURE,
        False,
        "The model's directory holds a symbolic link that leads out of it; the server would not find the file.",
        "Copy the model with its links resolved (cp -rL) and validate the copy.",
    )

    # --- the infrastructure: Kubernetes
    KUBECONFIG_NOT_USABLE = (
        Blames.INFRASTRUCTURE,
        False,
        "There is no usable way to a Kubernetes cluster.",
        "Check kubernetes.kubeconfig and kubernetes.context in the serving spec, or KUBECONFIG.",
    )
    KUBERNETES_UNREACHABLE = (
        Blames.INFRASTRUCTURE,
        True,
        "The Kubernetes API server does not answer as one.",
        "Check the address in the kubeconfig, the network and proxies between here and there.",
    )
    KUBERNETES_UNAUTHORIZED = (
        Blames.INFRASTRUCTURE,
        False,
        "The Kubernetes API server does not accept the credentials.",
        "Log in again, or give the service account a fresh token.",
    )
    KUBERNETES_FORBIDDEN = (
        Blames.INFRASTRUCTURE,
        False,
        "The Kubernetes API server forbids what the validation needs.",
        "Grant the Role that `infra-validator kubernetes rbac` prints for this spec.",
    )
    NAMESPACE_NOT_USABLE = (
        Blames.INFRASTRUCTURE,
        False,
        "The namespace cannot take the pod.",
        "Name another one in kubernetes.namespace, or create it.",
    )
    POD_REFUSED = (
        Blames.INFRASTRUCTURE,
        False,
        "The Kubernetes API server refused the pod.",
        "Read the server's words; change the field that they name in the serving spec.",
    )
    QUOTA_EXCEEDED = (
        Blames.INFRASTRUCTURE,
        True,
        "The namespace's quota has no room for the pod.",
        "Free some room, raise the quota, or lower serving_pod_overrides.resources.",
    )
    POD_UNSCHEDULABLE = (
        Blames.INFRASTRUCTURE,
        True,
        "No node takes the pod.",
        "Read the scheduler's words; raise kubernetes.unschedulable_grace_seconds if nodes are only slow to come.",
    )
    POD_IMAGE_NOT_PULLED = (
        Blames.INFRASTRUCTURE,
        True,
        "The node cannot get an image of the pod.",
        "Check the image's name and tag, kubernetes.image_pull_secrets, and the node's way to the registry.",
    )
    VOLUME_NOT_MOUNTED = (
        Blames.INFRASTRUCTURE,
        True,
        "The node cannot mount a volume of the pod.",
        "Read the node's words; check the claim, its access mode, and secrets that are mounted.",
    )
    CONTAINER_NOT_STARTED = (
        Blames.INFRASTRUCTURE,
        False,
        "The node could not start a container of the pod.",
        "Read the node's words: a secret that is missing, a user that is not numeric, a program that the image lacks.",
    )
    MODEL_NOT_DELIVERED = (
        Blames.INFRASTRUCTURE,
        True,
        "The model did not get to the pod.",
        "Read the words of the container that brings it; check kubernetes.model in the serving spec.",
    )
    POD_LOST = (
        Blames.INFRASTRUCTURE,
        True,
        "The pod was ended by the platform before the server's process ran.",
        "Look for evictions, deletions or lost nodes; run the validation again.",
    )
    SERVER_NOT_REACHABLE = (
        Blames.INFRASTRUCTURE,
        True,
        "There is no way to the server's port from here.",
        "Address: see that the server runs and that its port is open to this machine. Kubernetes: set kubernetes.endpoint to "
        "port_forward, or open the network to the pod. Docker: set local_docker.host_ip_address "
        "to an address of the daemon's machine that is reached from here, or network_mode to a network of the validator's container.",
    )

    # --- the infrastructure: what was tested is not what was named
    ANOTHER_MODEL_SERVED = (
        Blames.INFRASTRUCTURE,
        False,
        "The server serves another model than the one that was named.",
        "Check the claim, sub path, host path, image or address that the model comes from, and who else listens there.",
    )
    ANSWER_FROM_ANOTHER_MODEL = (
        Blames.INFRASTRUCTURE,
        False,
        "An answer names another model or version than the one asked.",
        "Look for another server behind the same address, and for a second version in the model's directory.",
    )
    MODEL_CHANGED = (
        Blames.INFRASTRUCTURE,
        False,
        "The model, or a file that the spec names, changed while it was validated.",
        "Validate a copy that nobody writes to.",
    )

    # --- the infrastructure: requests and the way to the server
    CONNECTION_LOST = (
        Blames.INFRASTRUCTURE,
        True,
        "The connection to the server broke again and again while the server lived.",
        "Look at what lies between here and the server: a port-forward, a relay, a proxy.",
    )
    REQUESTS_TOO_SLOW = (
        Blames.INFRASTRUCTURE,
        False,
        "The source of the sample requests was too slow: reading them took all of max_query_time_seconds.",
        "Look at where the requests come from; raise validation_spec.max_query_time_seconds if it is only slow.",
    )
    TOO_NOISY = (
        Blames.INFRASTRUCTURE,
        True,
        "The noise of the measurement is larger than the limit that it was to decide.",
        "Measure longer (validation_spec.load.seconds), on a machine with less beside it, or widen the limit.",
    )
    LIMIT_NOT_MEASURED = (
        Blames.INFRASTRUCTURE,
        False,
        "A limit that decides could not be measured here.",
        "Take the limit out, set limits.advisory, or validate on a platform where it can be measured.",
    )
    LOAD_NOT_REACHED = (
        Blames.INFRASTRUCTURE,
        True,
        "The validator could not send the load that was asked for.",
        "Lower validation_spec.load.rate_rps, or give the validator more processor time.",
    )
    BASELINE_FAILED = (
        Blames.INFRASTRUCTURE,
        False,
        "The baseline could not be measured, so there is nothing to compare the model with.",
        "Validate the baseline by itself; name one that serves.",
    )
    GENERATED_REQUEST_REFUSED = (
        Blames.INFRASTRUCTURE,
        False,
        "The server refused a request that was only made up from the signature.",
        "Give values that the model takes: request_spec.generate.ranges, shapes or texts, or real requests (--requests).",
    )

    # --- the infrastructure: the validation itself
    EXTENSION_FAILED = (
        Blames.INFRASTRUCTURE,
        False,
        "Code of an installed package that extends the validator failed.",
        "Report it to the package that is named, with the traceback in the log.",
    )
    INTERRUPTED = (
        Blames.INFRASTRUCTURE,
        False,
        "The validation was interrupted.",
        "Run it again.",
    )
    INTERNAL_ERROR = (
        Blames.INFRASTRUCTURE,
        False,
        "The validator itself failed.",
        "Please report this, with the traceback in the log.",
    )
