//! `containerLogs`: a container's log, now or as it grows.

use super::{Answer, BoxError, Parameters, target};
use crate::{
    logs::{Options, Reader, Stream},
    pod::{Pods, view::Phase},
};
use bytes::Bytes;
use http::{HeaderValue, Response, header};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use jiff::{SignedDuration, Timestamp};
use mk8s_api::status::Status;
use mk8s_cri::{Runtime, v1::ContainerState};
use std::{path::PathBuf, time::Duration};
use tokio::sync::mpsc;
use tokio_stream::{StreamExt, wrappers::ReceiverStream};

/// Between looks at a log that is followed.
const LOOK: Duration = Duration::from_millis(100);
/// Between questions whether its container still runs.
const ASK: Duration = Duration::from_secs(1);

pub(super) async fn serve(
    pods: &Pods,
    namespace: &str,
    name: &str,
    container: &str,
    parameters: &Parameters,
) -> Answer {
    let options = options(parameters)?;
    let target = target::pod(pods, namespace, name).await?;
    let seen = target.logged(container, parameters.flag("previous"))?;
    let (path, id, running) = (PathBuf::from(&seen.log_path), seen.id.clone(), seen.phase == Phase::Running);
    let reader = Reader::open(&path, options).map_err(|error| {
        Status::internal(format!(
            "failed to open log file {:?} for container {id:?}: {error}",
            path.display().to_string()
        ))
    })?;
    let follow = parameters.flag("follow") && running;
    let (sender, receiver) = mpsc::channel(8);
    tokio::spawn(pump(reader, follow, sender, pods.host().runtime.clone(), id));
    let frames = ReceiverStream::new(receiver).map(|bytes| Ok::<_, BoxError>(Frame::data(bytes)));
    let mut answer = Response::new(StreamBody::new(frames).boxed_unsync());
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    Ok(answer)
}

/// Sends what the reader has, and what is added while the container runs and somebody listens.
async fn pump(mut reader: Reader, follow: bool, sender: mpsc::Sender<Bytes>, runtime: Runtime, container: String) {
    let mut asked = std::time::Instant::now();
    let mut last_round = !follow;
    loop {
        loop {
            match reader.next_chunk() {
                Ok(chunk) if chunk.is_empty() => break,
                Ok(chunk) => {
                    if sender.send(chunk).await.is_err() {
                        return;
                    }
                }
                Err(error) => {
                    tracing::debug!(%error, "a log cannot be read on");
                    return;
                }
            }
        }
        if last_round || reader.is_exhausted() {
            return;
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            () = sender.closed() => return,
        }
        if asked.elapsed() > ASK {
            asked = std::time::Instant::now();
            // What it wrote last is read once more.
            let status = runtime.container_status(&container).await;
            last_round = !status.is_ok_and(|status| status.state == ContainerState::ContainerRunning as i32);
        }
    }
}

fn options(parameters: &Parameters) -> Result<Options, Status> {
    let since = match (parameters.number("sinceSeconds")?, parameters.get("sinceTime")) {
        (Some(seconds), _) => Some(Timestamp::now() - SignedDuration::from_secs(seconds.clamp(0, 1 << 40))),
        (None, Some(text)) => {
            let time = text.parse::<Timestamp>();
            Some(time.map_err(|error| Status::bad_request(format!("sinceTime: {text:?}: {error}")))?)
        }
        (None, None) => None,
    };
    let positive = |value: Option<i64>| value.and_then(|value| u64::try_from(value).ok());
    Ok(Options {
        since,
        tail_lines: positive(parameters.number("tailLines")?),
        limit_bytes: positive(parameters.number("limitBytes")?),
        timestamps: parameters.flag("timestamps"),
        stream: match parameters.get("stream") {
            Some("Stdout") => Some(Stream::Stdout),
            Some("Stderr") => Some(Stream::Stderr),
            _ => None,
        },
    })
}
