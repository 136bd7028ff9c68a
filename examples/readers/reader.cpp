// Read a vector with C++17 alone, and check an Elman step with it.
//
//     g++ -std=c++17 -O2 reader.cpp -o reader
//     ./reader FOLDER/elman/basic.safetensors
//
// Exit code 1 if an output differs by more than 1e-12.
// C++ has no SHA-256: check the printed one with `sha256sum`.

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <exception>
#include <fstream>
#include <iterator>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

// --- a little JSON ----------------------------------------------------------

struct Json {
  std::string text;               // of a string
  double number = 0;              // of a number
  std::vector<std::string> keys;  // of an object
  std::vector<Json> items;        // of an array, or an object's values

  const Json& operator[](const std::string& key) const {
    for (size_t i = 0; i < keys.size(); ++i)
      if (keys[i] == key) return items[i];
    throw std::runtime_error("no entry \"" + key + "\"");
  }
  std::vector<size_t> sizes() const {
    std::vector<size_t> all;
    for (const Json& item : items) {
      // Beyond 2^53 a double skips whole numbers; a NaN fails as well.
      if (!(item.number >= 0 && item.number < 9007199254740992.0))
        throw std::runtime_error("a size or offset is out of range");
      all.push_back(static_cast<size_t>(item.number));
    }
    return all;
  }
};

class Parser {
 public:
  explicit Parser(std::string source) : s(std::move(source)) {}

  Json value() {
    Json json;
    const char c = peek();
    if (c == '"') {
      json.text = string();
    } else if (c == '{' || c == '[') {
      const char close = c == '{' ? '}' : ']';
      for (++at; peek() != close;) {
        if (c == '{') {
          json.keys.push_back(string());
          take(':');
        }
        json.items.push_back(value());
        if (peek() != close) take(',');
      }
      ++at;
    } else {
      const size_t end = s.find_first_of(",]} \n\r\t", at);
      const std::string word = s.substr(at, end - at);
      if (word == "true") json.number = 1;
      if (c == '-' || (c >= '0' && c <= '9')) json.number = std::stod(word);
      at += word.size();
    }
    return json;
  }

 private:
  char peek() {
    at = s.find_first_not_of(" \n\r\t", at);
    if (at == std::string::npos) throw std::runtime_error("JSON ends early");
    return s[at];
  }
  void take(char c) {
    if (peek() != c) throw std::runtime_error("JSON is malformed");
    ++at;
  }
  std::string string() {
    std::string out;
    take('"');
    for (; s.at(at) != '"'; ++at) {
      if (s[at] != '\\') {
        out += s[at];
      } else if (s.at(++at) == 'u') {
        const unsigned code = std::stoul(s.substr(at + 1, 4), nullptr, 16);
        out += code < 0x80 ? static_cast<char>(code) : '?';
        at += 4;
      } else {
        out += s[at] == 'n' ? '\n' : s[at] == 't' ? '\t' : s[at];
      }
    }
    ++at;
    return out;
  }

  std::string s;
  size_t at = 0;
};

// --- the file ---------------------------------------------------------------

struct Array {
  std::vector<size_t> shape;
  std::vector<double> data;  // C order; empty where the file has no float64
};

std::string bytes_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw std::runtime_error("cannot open " + path);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::map<std::string, Array> arrays_of(const std::string& bytes) {
  std::uint64_t length = 0;  // both as on disk: little-endian machines only
  if (bytes.size() < 8) throw std::runtime_error("the file ends early");
  std::memcpy(&length, bytes.data(), 8);
  if (length > bytes.size() - 8) throw std::runtime_error("the file ends early");
  const Json header = Parser(bytes.substr(8, length)).value();
  const size_t start = 8 + length;
  std::map<std::string, Array> arrays;
  for (size_t i = 0; i < header.keys.size(); ++i) {
    if (header.keys[i] == "__metadata__") continue;
    const Json& entry = header.items[i];
    Array array{entry["shape"].sizes(), {}};
    const std::vector<size_t> offsets = entry["data_offsets"].sizes();
    size_t count = 1;
    for (const size_t n : array.shape) count *= n;
    if (offsets.at(0) > offsets.at(1) || offsets[1] > bytes.size() - start)
      throw std::runtime_error(header.keys[i] + " lies outside the file");
    if (entry["dtype"].text == "F64") {
      if (offsets[1] - offsets[0] != 8 * count)
        throw std::runtime_error(header.keys[i] + " has another size");
      array.data.resize(count);
      std::memcpy(array.data.data(), &bytes[start + offsets[0]], 8 * count);
    }
    arrays[header.keys[i]] = array;
  }
  return arrays;
}

// --- an Elman network over it -----------------------------------------------

int run(const std::string& path) {
  const size_t dot = path.rfind(".safetensors");
  const Json manifest = Parser(bytes_of(path.substr(0, dot) + ".json")).value();
  std::map<std::string, Array> v = arrays_of(bytes_of(path));
  std::printf("%s - %s\n", manifest["name"].text.c_str(),
              manifest["breaks"].text.c_str());
  std::printf("sha256 (not checked) %s\n",
              manifest["checksum"].text.c_str());
  for (const auto& [name, array] : v) {
    if (array.shape != manifest["arrays"][name]["shape"].sizes())
      throw std::runtime_error(name + " has not the manifest's shape");
    std::printf("  %s (", name.c_str());
    for (size_t i = 0; i < array.shape.size(); ++i)
      std::printf("%s%zu", i ? ", " : "", array.shape[i]);
    std::printf(")\n");
  }

  const std::vector<double>&x = v.at("x").data, &y = v.at("y").data,
        &W_xh = v.at("params/W_xh").data, &W_hh = v.at("params/W_hh").data,
        &b_h = v.at("params/b_h").data;
  const std::vector<size_t> shape = v.at("x").shape;
  const size_t n_time = shape.at(0), n_batch = shape.at(1), n_in = shape.at(2);
  const size_t n_hid = b_h.size();
  std::vector<double> h = v.at("state0/h").data, next(n_batch * n_hid);
  if (x.size() != n_time * n_batch * n_in || W_xh.size() != n_in * n_hid ||
      y.size() != n_time * n_batch * n_hid || W_hh.size() != n_hid * n_hid ||
      h.size() != n_batch * n_hid)
    throw std::runtime_error("sizes do not fit, or not all are float64");
  double worst = 0;
  bool close = true;
  for (size_t t = 0; t < n_time; ++t) {
    for (size_t b = 0; b < n_batch; ++b)
      for (size_t j = 0; j < n_hid; ++j) {
        double a = b_h[j];
        for (size_t i = 0; i < n_in; ++i)
          a += x[(t * n_batch + b) * n_in + i] * W_xh[i * n_hid + j];
        for (size_t i = 0; i < n_hid; ++i)
          a += h[b * n_hid + i] * W_hh[i * n_hid + j];
        next[b * n_hid + j] = std::tanh(a);
        const double wanted = y[(t * n_batch + b) * n_hid + j];
        const double off = std::abs(next[b * n_hid + j] - wanted);
        worst = std::fmax(worst, off);
        close = close && off <= 1e-12;  // false for NaN, which fmax drops
      }
    h.swap(next);
  }
  std::printf("y recomputed: largest difference %.1e\n", worst);
  return close ? 0 : 1;
}

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: reader FOLDER/elman/basic.safetensors\n");
    return 2;
  }
  try {
    return run(argv[1]);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s: %s\n", argv[1], error.what());
    return 2;
  }
}
