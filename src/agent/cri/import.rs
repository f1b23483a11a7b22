//! Image import: blobs into containerd's content store, then names, under a lease so that nothing is collected between.

use crate::{
    Containerd, CriError,
    archive::{Blob, Contents, Source},
    containerd::request,
};
use containerd_client::{
    services::v1::{
        CreateImageRequest, CreateRequest, DeleteRequest, Image, InfoRequest, ListImagesRequest, UpdateImageRequest,
        WriteAction, WriteContentRequest, content_client::ContentClient, images_client::ImagesClient,
        leases_client::LeasesClient,
    },
    types::Descriptor,
};
use std::{
    collections::HashMap,
    io::{Read, Seek, SeekFrom},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, metadata::MetadataValue};

/// The label of images that are not to be collected.
const PINNED: &str = "io.cri-containerd.pinned";

/// Bytes a message of a write carries.
const PIECE: usize = 1 << 20;

impl Containerd {
    /// Puts an image's blobs and names into containerd. `file` is the archive that the contents were read from.
    /// The names are returned.
    pub async fn import(
        &self,
        contents: Contents,
        file: &mut (impl Read + Seek + Send),
        pinned: bool,
    ) -> Result<Vec<String>, CriError> {
        let lease = format!("mk8s-import-{}", uuid::Uuid::new_v4().simple());
        let mut leases = LeasesClient::new(self.channel.clone());
        let created = leases.create(request(CreateRequest { id: lease.clone(), labels: HashMap::new() })).await;
        created.map_err(CriError::rpc("Leases.Create"))?;
        let result = self.import_under(&lease, contents, file, pinned).await;
        if let Err(error) = leases.delete(request(DeleteRequest { id: lease, sync: false })).await {
            tracing::warn!(%error, "the lease of an image import could not be removed");
        }
        result
    }

    /// The names of the images that were imported to stay. CRI tells of them from containerd 1.7 on only.
    pub async fn pinned(&self) -> Result<Vec<String>, CriError> {
        let ask = ListImagesRequest { filters: vec![format!("labels.\"{PINNED}\"==pinned")] };
        let listed = ImagesClient::new(self.channel.clone()).list(request(ask)).await;
        let images = listed.map_err(CriError::rpc("Images.List"))?.into_inner().images;
        Ok(images.into_iter().map(|image| image.name).collect())
    }

    async fn import_under(
        &self,
        lease: &str,
        contents: Contents,
        file: &mut (impl Read + Seek + Send),
        pinned: bool,
    ) -> Result<Vec<String>, CriError> {
        for blob in contents.blobs {
            self.put_blob(lease, blob, file).await?;
        }
        let mut names = Vec::new();
        for (name, target) in contents.names {
            let mut labels = HashMap::from([("io.cri-containerd.image".to_owned(), "managed".to_owned())]);
            if pinned {
                labels.insert(PINNED.to_owned(), "pinned".to_owned());
            }
            let size = i64::try_from(target.size).unwrap_or(i64::MAX);
            let target =
                Descriptor { media_type: target.media_type, digest: target.digest, size, annotations: HashMap::new() };
            self.put_name(Image { name: name.clone(), labels, target: Some(target), ..Default::default() }).await?;
            names.push(name);
        }
        Ok(names)
    }

    async fn put_blob(&self, lease: &str, blob: Blob, file: &mut (impl Read + Seek + Send)) -> Result<(), CriError> {
        let mut content = ContentClient::new(self.channel.clone());
        let known = content.info(request(InfoRequest { digest: blob.descriptor.digest.clone() })).await;
        if known.is_ok() && blob.labels.is_empty() {
            return Ok(());
        }
        let (sender, receiver) = tokio::sync::mpsc::channel::<WriteContentRequest>(2);
        let ask = leased(lease, ReceiverStream::new(receiver));
        let reference = format!("mk8s-import-{}", blob.descriptor.digest);
        let send = send_blob(reference, blob, file, sender);
        let receive = async {
            let mut answers = content.write(ask).await?.into_inner();
            while answers.message().await?.is_some() {}
            Ok::<_, tonic::Status>(())
        };
        let (sent, received) = tokio::join!(send, receive);
        match received {
            Err(status) if status.code() == Code::AlreadyExists => Ok(()),
            Err(status) => Err(CriError::rpc("Content.Write")(status)),
            Ok(()) => sent,
        }
    }

    async fn put_name(&self, image: Image) -> Result<(), CriError> {
        let mut images = ImagesClient::new(self.channel.clone());
        let ask = CreateImageRequest { image: Some(image.clone()), ..Default::default() };
        match images.create(request(ask)).await {
            Ok(_) => Ok(()),
            Err(status) if status.code() == Code::AlreadyExists => {
                let ask = UpdateImageRequest { image: Some(image), ..Default::default() };
                images.update(request(ask)).await.map(drop).map_err(CriError::rpc("Images.Update"))
            }
            Err(status) => Err(CriError::rpc("Images.Create")(status)),
        }
    }
}

fn leased<T>(lease: &str, message: T) -> Request<T> {
    let mut ask = request(message);
    if let Ok(value) = MetadataValue::try_from(lease) {
        ask.metadata_mut().insert("containerd-lease", value);
    }
    ask
}

/// Sends a blob in pieces; the last message commits it.
async fn send_blob(
    reference: String,
    blob: Blob,
    file: &mut (impl Read + Seek + Send),
    sender: tokio::sync::mpsc::Sender<WriteContentRequest>,
) -> Result<(), CriError> {
    let failed = |error: std::io::Error| CriError::Archive { why: error.to_string() };
    let total = blob.descriptor.size;
    let mut in_hand;
    let mut in_file;
    let reader: &mut (dyn Read + Send) = match blob.source {
        Source::Bytes(bytes) => {
            in_hand = std::io::Cursor::new(bytes);
            &mut in_hand
        }
        Source::Archive(offset, length) => {
            file.seek(SeekFrom::Start(offset)).map_err(failed)?;
            in_file = Read::take(&mut *file, length);
            &mut in_file
        }
    };
    let message = |action: WriteAction, offset: u64, data: Vec<u8>| WriteContentRequest {
        action: action as i32,
        r#ref: reference.clone(),
        total: i64::try_from(total).unwrap_or(i64::MAX),
        expected: blob.descriptor.digest.clone(),
        offset: i64::try_from(offset).unwrap_or(i64::MAX),
        data,
        labels: HashMap::new(),
    };
    let mut offset = 0;
    loop {
        let mut data = Vec::new();
        let n = Read::take(&mut *reader, PIECE as u64).read_to_end(&mut data).map_err(failed)?;
        if n == 0 {
            break;
        }
        // The receiver is gone when the write was refused; the refusal says more than we could.
        if sender.send(message(WriteAction::Write, offset, data)).await.is_err() {
            return Ok(());
        }
        offset += n as u64;
    }
    let mut commit = message(WriteAction::Commit, offset, Vec::new());
    commit.labels = blob.labels.clone();
    drop(sender.send(commit).await);
    Ok(())
}
