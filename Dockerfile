# One image that swaps faces, by itself or as a service, and clears up after itself.
#
#   docker build -t facefusion-runner .                                   NVIDIA GPU, CUDA from the base
#   docker build -t facefusion-runner --build-arg VARIANT=cpu --build-arg BASE_IMAGE=debian:bookworm-slim .
#   docker build -t facefusion-runner --build-arg VARIANT=cuda --build-arg BASE_IMAGE=debian:bookworm-slim .
#                                                                         NVIDIA GPU, CUDA from wheels
#
# Any base with Debian's or Ubuntu's packages and a Python of 3.11 or newer serves. A machine on which pip
# needs settings or certificates of its own gives them as the build secrets pip_conf and ca_bundle.

ARG BASE_IMAGE=nvidia/cuda:13.0.0-cudnn-runtime-ubuntu24.04
ARG VARIANT=gpu


# hadolint ignore=DL3006
FROM ${BASE_IMAGE} AS base
# Versions of the distribution's packages are the base image's business.
# hadolint ignore=DL3008
RUN apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends python3 \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/log/apt /var/log/dpkg.log


# Two environments: /opt/build has pip and what makes wheels, /opt/venv is what the image runs.
FROM base AS dependencies
ARG VARIANT
ENV PIP_CONFIG_FILE=/run/secrets/pip_conf \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_ROOT_USER_ACTION=ignore
# hadolint ignore=DL3008
RUN apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends ca-certificates python3-venv \
 && rm -rf /var/lib/apt/lists/* \
 && python3 -m venv /opt/build \
 && python3 -m venv --without-pip /opt/venv
WORKDIR /src
COPY requirements/lock-build.txt requirements/lock-${VARIANT}.txt requirements/
# --no-deps: the locks are complete but for the stand-ins built below, in whose place pip would fetch the
# onnxruntime and opencv-python that InsightFace asks for, over the builds that are wanted.
# hadolint ignore=DL3042
RUN --mount=type=secret,id=pip_conf,required=false \
    --mount=type=secret,id=ca_bundle,required=false \
    --mount=type=cache,target=/root/.cache/pip \
    /opt/build/bin/pip install --no-deps --require-hashes --only-binary :all: -r requirements/lock-build.txt \
 && /opt/build/bin/pip --python /opt/venv/bin/python install \
      --no-deps --require-hashes --only-binary :all: -r "requirements/lock-${VARIANT}.txt" \
 && find /opt/venv -type d -name tests -prune -exec rm -r {} +
COPY packaging packaging
RUN if [ "${VARIANT}" = cpu ]; then rm -r packaging/onnxruntime-gpu; fi \
 && /opt/build/bin/pip wheel --no-cache-dir --no-index --no-deps --no-build-isolation -w /tmp/wheels packaging/*/ \
 && /opt/build/bin/pip --python /opt/venv/bin/python install --no-cache-dir --no-index --no-deps /tmp/wheels/*.whl


FROM dependencies AS package
COPY pyproject.toml README.md LICENSE NOTICE ./
COPY facefusion_runner facefusion_runner
COPY sweeper sweeper
RUN /opt/build/bin/python -m hatchling build --target wheel --directory /dist


# What differs between the variants when they run.
FROM base AS cpu
ENV DEVICE=cpu

FROM base AS gpu
ENV NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility,video

FROM gpu AS cuda


# hadolint ignore=DL3006
FROM ${VARIANT} AS runtime
ARG VARIANT
# cron runs nothing but the sweeper: the jobs that other packages left there go.
# hadolint ignore=DL3008
RUN apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends cron tini \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/log/apt /var/log/dpkg.log /etc/cron.* \
 && : >/etc/crontab \
 && groupadd --gid 10001 runner \
 && useradd --uid 10001 --gid 10001 --create-home --shell /usr/sbin/nologin runner \
# Open to every user, so that --user with any id works; new named volumes take owner and mode from here.
 && install -d -o runner -g runner -m 1777 /data /models /work /tmp/facefusion/cache /var/lib/facefusion/sweeper
COPY --from=dependencies /opt/venv /opt/venv
ENV PATH=/opt/venv/bin:${PATH} \
    PYTHONDONTWRITEBYTECODE=1 \
    CACHE_ROOT=/tmp/facefusion/cache \
    DATA_ROOT=/data \
    MODEL_ROOT=/models \
    SWEEP_STATE_ROOT=/var/lib/facefusion/sweeper
COPY --chmod=755 entrypoint.sh healthcheck.sh /
# Last, because it changes most often. pip comes from the other stage and stays there. The wrong build of ONNX
# Runtime would still import and run, on the CPU: only its own word tells which one it is. It is read, not imported,
# because an import leaves an id for reports in the home directory.
RUN --mount=from=package,source=/dist,target=/dist \
    --mount=from=dependencies,source=/opt/build,target=/opt/build \
    pip="/opt/build/bin/pip --python /opt/venv/bin/python --disable-pip-version-check" \
 && $pip install --no-cache-dir --no-index --no-deps /dist/*.whl \
 && $pip check \
 && wanted=onnxruntime \
 && if [ "${VARIANT}" != cpu ]; then wanted=onnxruntime-gpu; fi \
 && found=$(sed -n "s/^package_name = '\(.*\)'$/\1/p" \
      /opt/venv/lib/python3*/site-packages/onnxruntime/capi/build_and_package_info.py) \
 && if [ "$found" != "$wanted" ]; then echo "ONNX Runtime is $found, not $wanted" >&2; exit 1; fi

VOLUME ["/models", "/data"]
EXPOSE 8000
WORKDIR /work
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s CMD ["/healthcheck.sh"]
ENTRYPOINT ["/usr/bin/tini", "--", "/entrypoint.sh"]
CMD ["serve"]

ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="facefusion-runner" \
      org.opencontainers.image.description="Swaps faces in videos and pictures, and never leaves a task's cache behind" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
