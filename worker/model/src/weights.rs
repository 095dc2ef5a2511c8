//! Weights in memory, and the model's identity: BLAKE3 over its content.

use std::{collections::HashMap, fs, path::Path};

use candle_core::{DType, Device, Tensor};
use lode_domain::id::ModelHash;
use safetensors::{Dtype, tensor::TensorInfo};

use crate::{LoadOptions, ModelError, Precision, config::Config, error::Result, redraw::Redraw, shards::Shards};

/// All tensors of a model, to be taken by name.
pub(crate) struct Weights {
    shards: Shards,
    tensors: HashMap<String, Tensor>,
    /// Put before a name where a file leaves it out: GPT-2 checkpoints come with and without `transformer.`.
    omitted: &'static str,
    precision: Precision,
    device: Device,
    parameters: u64,
}

impl Weights {
    /// Reads every tensor of the model in `folder` once, and hashes config, tokenizer and tensors on the way.
    ///
    /// The hash runs over `config.json`, `tokenizer.json` (each as length and bytes) and, in name order, every tensor's
    /// name, type, shape and bytes. So it does not depend on how the tensors are spread over files. Of a control, whose
    /// weights are not the files', it runs over what it is and its seed first, and over no bytes of tensors.
    pub fn load(folder: &Path, options: &LoadOptions, device: Device) -> Result<(Self, ModelHash)> {
        let shards = Shards::open(folder)?;
        let mut hasher = blake3::Hasher::new();
        let redraw = match options.control {
            Some(control) => Some(Redraw::new(control, &Config::read(&folder.join("config.json"))?)?),
            None => None,
        };
        if let Some(redraw) = &redraw {
            hasher.update(b"random-init").update(&redraw.seed().to_le_bytes());
        }
        for name in ["config.json", "tokenizer.json"] {
            let path = folder.join(name);
            let bytes = fs::read(&path).map_err(|source| ModelError::Read { path, source })?;
            hasher.update(&(bytes.len() as u64).to_le_bytes()).update(&bytes);
        }
        let mut tensors = HashMap::new();
        for name in shards.names() {
            if let Some(redraw) = &redraw {
                let info = shards.info(name)?;
                hasher.update(format!("{name} {:?} ", info.shape).as_bytes());
                if let Some(tensor) = drawn(info, redraw.tensor(name, &info.shape), options.precision)? {
                    tensors.insert(name.to_owned(), tensor);
                }
                continue;
            }
            let (info, bytes) = shards.read(name)?;
            hasher.update(format!("{name} {:?} {:?} ", info.dtype, info.shape).as_bytes()).update_rayon(&bytes);
            if let Some(tensor) = decode(info, &bytes, options.precision)? {
                tensors.insert(name.to_owned(), tensor);
            }
        }
        let hash = ModelHash(*hasher.finalize().as_bytes());
        let weights = Self { shards, tensors, omitted: "", precision: options.precision, device, parameters: 0 };
        Ok((weights, hash))
    }

    /// From now on looks names up without `prefix`, if the files leave it out before `probe`.
    pub fn allow_omitted(&mut self, prefix: &'static str, probe: &str) {
        if !self.has(&format!("{prefix}{probe}")) {
            self.omitted = prefix;
        }
    }

    /// Whether the files hold a tensor of this name.
    pub fn has(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// Takes the tensor `name` of shape `expected` onto the device: vectors as f32, matrices in the precision.
    pub fn take(&mut self, name: &str, expected: &[usize]) -> Result<Tensor> {
        let stored = name.strip_prefix(self.omitted).unwrap_or(name);
        let path = || self.shards.path(stored).to_owned();
        let Some(tensor) = self.tensors.remove(stored) else {
            // Either no file has it, or it is not made of floats.
            let (info, _) = self.shards.read(stored)?;
            let found = format!("{:?}", info.dtype);
            return Err(ModelError::WrongType { path: path(), tensor: stored.to_owned(), found });
        };
        if tensor.dims() != expected {
            let (expected, found) = (expected.to_vec(), tensor.dims().to_vec());
            return Err(ModelError::WrongShape { path: path(), tensor: stored.to_owned(), expected, found });
        }
        if let Some(element) = first_not_finite(&tensor)? {
            let precision = if tensor.rank() > 1 { self.precision } else { Precision::F32 };
            return Err(ModelError::WeightNotFinite { path: path(), tensor: stored.to_owned(), element, precision });
        }
        self.parameters += tensor.elem_count() as u64;
        Ok(tensor.to_device(&self.device)?)
    }

    /// The number of weights taken so far.
    pub fn parameters(&self) -> u64 {
        self.parameters
    }
}

/// The bytes of a tensor as numbers, vectors as f32, others in the precision; `None` if they are no floats.
fn decode(info: &TensorInfo, bytes: &[u8], precision: Precision) -> Result<Option<Tensor>> {
    let stored = match info.dtype {
        Dtype::F16 => DType::F16,
        Dtype::BF16 => DType::BF16,
        Dtype::F32 => DType::F32,
        Dtype::F64 => DType::F64,
        _ => return Ok(None),
    };
    let dtype = if info.shape.len() > 1 { precision.dtype() } else { DType::F32 };
    let tensor = Tensor::from_raw_buffer(bytes, stored, &info.shape, &Device::Cpu)?;
    Ok(Some(tensor.to_dtype(dtype)?))
}

/// Numbers in the place of a tensor's own; `None` if those are no floats.
fn drawn(info: &TensorInfo, numbers: Vec<f32>, precision: Precision) -> Result<Option<Tensor>> {
    if !matches!(info.dtype, Dtype::F16 | Dtype::BF16 | Dtype::F32 | Dtype::F64) {
        return Ok(None);
    }
    let dtype = if info.shape.len() > 1 { precision.dtype() } else { DType::F32 };
    Ok(Some(Tensor::from_vec(numbers, &*info.shape, &Device::Cpu)?.to_dtype(dtype)?))
}

/// The first element that is NaN or infinite, row-major.
fn first_not_finite(tensor: &Tensor) -> Result<Option<usize>> {
    // x - x is zero for finite numbers only, so one sum tells the common case apart.
    let spread = tensor.sub(tensor)?.to_dtype(DType::F32)?.sum_all()?.to_scalar::<f32>()?;
    if spread == 0.0 {
        return Ok(None);
    }
    let values = tensor.flatten_all()?.to_dtype(DType::F32)?.to_vec1::<f32>()?;
    Ok(values.iter().position(|value| !value.is_finite()))
}
