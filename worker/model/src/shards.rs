//! Safetensors files: which there are, what their headers say, and the bytes of one tensor.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

use safetensors::tensor::{Metadata, TensorInfo};

use crate::{ModelError, config::Config, error::Result};

/// The header of a safetensors file is at most this long, as in the format's own library.
const MAX_HEADER: u64 = 100_000_000;

/// The tensors of a model, wherever they lie: one file or several.
pub(crate) struct Shards {
    files: Vec<Shard>,
    /// Tensor name to its file, in name order.
    places: BTreeMap<String, usize>,
    /// What to name when a tensor is in no file.
    whole: PathBuf,
}

struct Shard {
    path: PathBuf,
    file: File,
    /// Where the tensors' bytes begin.
    start: u64,
    header: Metadata,
}

impl Shards {
    /// Opens `model.safetensors`, or the shards that `model.safetensors.index.json` lists.
    pub fn open(folder: &Path) -> Result<Self> {
        let (whole, paths) = shard_paths(folder)?;
        let files: Vec<Shard> = paths.iter().map(|path| Shard::open(path)).collect::<Result<_>>()?;
        let mut places = BTreeMap::new();
        for (number, shard) in files.iter().enumerate() {
            places.extend(shard.header.offset_keys().into_iter().map(|name| (name, number)));
        }
        Ok(Self { files, places, whole })
    }

    /// The tensors' names, in name order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.places.keys().map(String::as_str)
    }

    /// The file that holds a tensor; the whole model's file or index where none does.
    pub fn path(&self, name: &str) -> &Path {
        self.places.get(name).map_or(&self.whole, |&number| &self.files[number].path)
    }

    /// Type and shape of a tensor.
    pub fn info(&self, name: &str) -> Result<&TensorInfo> {
        Ok(self.find(name)?.1)
    }

    fn find(&self, name: &str) -> Result<(&Shard, &TensorInfo)> {
        let missing = || ModelError::MissingTensor { path: self.whole.clone(), tensor: name.to_owned() };
        let shard = self.places.get(name).map(|&number| &self.files[number]).ok_or_else(missing)?;
        Ok((shard, shard.header.info(name).ok_or_else(missing)?))
    }

    /// Type, shape and bytes of a tensor.
    pub fn read(&self, name: &str) -> Result<(&TensorInfo, Vec<u8>)> {
        let (shard, info) = self.find(name)?;
        let (from, to) = info.data_offsets;
        let mut bytes = vec![0; to - from];
        let mut file = &shard.file;
        file.seek(SeekFrom::Start(shard.start + from as u64))
            .and_then(|_| file.read_exact(&mut bytes))
            .map_err(|source| ModelError::Read { path: shard.path.clone(), source })?;
        Ok((info, bytes))
    }
}

impl Shard {
    fn open(path: &Path) -> Result<Self> {
        let failed = |source| ModelError::Read { path: path.to_owned(), source };
        let bad = |problem: String| ModelError::BadWeights { path: path.to_owned(), problem };
        let mut file = File::open(path).map_err(failed)?;
        let len = file.metadata().map_err(failed)?.len();
        let mut prefix = [0; 8];
        file.read_exact(&mut prefix).map_err(|_| bad(format!("it has only {len} bytes")))?;
        let header_len = u64::from_le_bytes(prefix);
        if header_len > MAX_HEADER || header_len + 8 > len {
            return Err(bad(format!("its header should take {header_len} bytes of {len}")));
        }
        let mut header = vec![0; header_len as usize];
        file.read_exact(&mut header).map_err(failed)?;
        let header: Metadata =
            serde_json::from_slice(&header).map_err(|error| bad(format!("its header does not parse: {error}")))?;
        let start = 8 + header_len;
        let expected = start + header.data_len() as u64;
        if expected != len {
            return Err(bad(format!("it has {len} bytes, its header asks for {expected}")));
        }
        Ok(Self { path: path.to_owned(), file, start, header })
    }
}

/// The file to name for the whole model, and the files that hold tensors, in name order.
fn shard_paths(folder: &Path) -> Result<(PathBuf, Vec<PathBuf>)> {
    let single = folder.join("model.safetensors");
    let index = folder.join("model.safetensors.index.json");
    if single.exists() || !index.exists() {
        return Ok((single.clone(), vec![single]));
    }
    let bad = |problem: &str| ModelError::BadJson { path: index.clone(), problem: problem.to_owned() };
    let map = Config::read(&index)?.object("weight_map")?.ok_or_else(|| bad("there is no `weight_map`"))?;
    let mut names = Vec::new();
    for file in map.values() {
        let file = file.as_str().ok_or_else(|| bad("`weight_map` must name a file for each tensor"))?;
        // A shard lies beside its index: a name that leads elsewhere is no shard.
        if Path::new(file).file_name().is_none_or(|name| name != file) {
            return Err(bad("`weight_map` names a file outside the folder"));
        }
        names.push(file);
    }
    names.sort_unstable();
    names.dedup();
    Ok((index.clone(), names.into_iter().map(|name| folder.join(name)).collect()))
}
