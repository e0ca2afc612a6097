//! How an operator reaches a running pipeline: a socket in its data directory, for this user alone.
//! One request a connection, one line of JSON each way.

use std::{
    fs,
    io::{self, BufRead as _, BufReader, Write as _},
    os::unix::{fs::PermissionsExt as _, net::UnixStream},
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixListener,
    sync::{mpsc, oneshot},
    task::AbortHandle,
};

use super::{Message, Receipt};
use crate::redrive::{Account, Beside, Order};

/// A request is a line of this length at most.
const REQUEST_BYTES_MAX: u64 = 64 << 10;

/// What an operator asks for.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Request {
    /// An earlier generation; the last other one, where none is named.
    Rollback {
        /// Its digest, or the beginning of it.
        generation: Option<String>,
    },
    /// What the files make now.
    Reload {
        /// A plugin may ask for more than its predecessor.
        approve: bool,
    },
    /// Dead letters, through what serves. Whoever asks stays until it is done: if he leaves, it
    /// stops, and the next one finishes it.
    Redrive(Order),
}

/// What is answered.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Answer {
    /// What became of a generation.
    Swap(Receipt),
    /// What became of a redrive.
    Redrive(Account),
    /// It could not be done.
    Failed(String),
}

/// Where a pipeline listens.
pub(crate) fn socket_path(data_dir: &Path) -> PathBuf {
    data_dir.join("control.sock")
}

/// Listens until it is dropped.
pub(super) struct Listening {
    path: PathBuf,
    task: AbortHandle,
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.task.abort();
        let _ = fs::remove_file(&self.path);
    }
}

pub(super) fn serve(
    data_dir: &Path,
    messages: mpsc::Sender<Message>,
    redrives: Beside,
) -> anyhow::Result<Listening> {
    let path = socket_path(data_dir);
    // Whoever holds the data directory's lock may: the one who left it is gone.
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(error).context("failed to remove the old control socket");
        }
        _ => {}
    }
    let listening = || format!("failed to listen on `{}`", path.display());
    let listener = UnixListener::bind(&path).with_context(listening)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).with_context(listening)?;
    let task = tokio::spawn(async move {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    let (messages, redrives) = (messages.clone(), redrives.clone());
                    tokio::spawn(async move {
                        if let Err(error) = answer(stream, messages, redrives).await {
                            tracing::debug!("a control request went wrong: {error:#}");
                        }
                    });
                }
                Err(error) => tracing::warn!("failed to accept a control request: {error}"),
            }
        }
    });
    Ok(Listening { path, task: task.abort_handle() })
}

async fn answer(
    stream: tokio::net::UnixStream,
    messages: mpsc::Sender<Message>,
    redrives: Beside,
) -> anyhow::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut read = tokio::io::BufReader::new(read.take(REQUEST_BYTES_MAX));
    let mut line = String::new();
    read.read_line(&mut line).await?;
    let request: Request = serde_json::from_str(&line).context("not a request")?;
    let (tell, told) = oneshot::channel();
    let message = match request {
        Request::Rollback { generation } => Message::Rollback { to: generation, answer: tell },
        Request::Reload { approve } => Message::Look { approved: approve, answer: Some(tell) },
        Request::Redrive(order) => {
            let left = async {
                // Nothing more is said by whoever waits: only the end can come.
                let _ = read.read_u8().await;
            };
            let answer = match redrives.execute(order, left).await {
                Ok(account) => Answer::Redrive(account),
                Err(error) => Answer::Failed(format!("{error:#}")),
            };
            return say(&mut write, &answer).await;
        }
    };
    messages.send(message).await.context("the pipeline is ending")?;
    let receipt = told.await.context("the pipeline is ending")?;
    say(&mut write, &Answer::Swap(receipt)).await
}

async fn say(
    write: &mut (impl tokio::io::AsyncWrite + Unpin),
    answer: &Answer,
) -> anyhow::Result<()> {
    let mut text = serde_json::to_string(answer)?;
    text.push('\n');
    write.write_all(text.as_bytes()).await?;
    Ok(())
}

/// Asks the pipeline that runs over a data directory; none where none does. Blocks.
fn ask(data_dir: &Path, request: &Request) -> anyhow::Result<Option<Answer>> {
    let path = socket_path(data_dir);
    let stream = match UnixStream::connect(&path) {
        Ok(stream) => stream,
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
            ) =>
        {
            return Ok(None);
        }
        Err(error) => {
            return Err(error).with_context(|| format!("failed to reach `{}`", path.display()));
        }
    };
    let mut text = serde_json::to_string(request)?;
    text.push('\n');
    (&stream).write_all(text.as_bytes()).context("failed to ask the running pipeline")?;
    let mut line = String::new();
    BufReader::new(&stream).read_line(&mut line).context("failed to hear the running pipeline")?;
    let answer = serde_json::from_str(&line).context("the running pipeline gave no answer")?;
    Ok(Some(answer))
}

/// Asks it for a swap.
pub(crate) fn ask_to_swap(data_dir: &Path, request: &Request) -> anyhow::Result<Option<Receipt>> {
    match ask(data_dir, request)? {
        None => Ok(None),
        Some(Answer::Swap(receipt)) => Ok(Some(receipt)),
        Some(Answer::Failed(message)) => bail!(message),
        Some(Answer::Redrive(_)) => bail!("the running pipeline answered something else"),
    }
}

/// Asks it for a redrive.
pub(crate) fn ask_to_redrive(data_dir: &Path, order: Order) -> anyhow::Result<Option<Account>> {
    match ask(data_dir, &Request::Redrive(order))? {
        None => Ok(None),
        Some(Answer::Redrive(account)) => Ok(Some(account)),
        Some(Answer::Failed(message)) => bail!(message),
        Some(Answer::Swap(_)) => bail!("the running pipeline answered something else"),
    }
}
