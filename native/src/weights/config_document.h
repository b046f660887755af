#pragma once

#include <string>

#include "pipo/model_description.h"

namespace pipo {

/// A model's config as text: one `key value` line per field, named as everywhere (pipo/model_schema.h), nested fields as
/// `outer.inner`, lists as words, absent objects left out. Packed files hold it, and the goldens' config.txt is it.
std::string write_config_document(const ModelConfig& config);

/// Reads it back. Throws kBadFile, naming the field, for lines that are missing, unknown or of another kind.
ModelConfig read_config_document(const std::string& document);

}  // namespace pipo
