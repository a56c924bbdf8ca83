// A reader of XML, strict and small: enough to read our SVG back and to refuse what is not well
// formed. No comments, processing instructions or namespaces, because our SVG has none.

#pragma once

#include <cstddef>
#include <map>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace dualpipe {

struct Element {
  std::string name;
  std::map<std::string, std::string> attributes;
  std::string text;  // directly inside, entities resolved
  int parent = -1;   // index of the element around it

  [[nodiscard]] std::string attribute(const std::string& key) const {
    const auto found = attributes.find(key);
    return found == attributes.end() ? "" : found->second;
  }
  [[nodiscard]] double number(const std::string& key) const { return std::stod(attribute(key)); }
};

class XmlReader {
 public:
  explicit XmlReader(std::string_view text) : rest_(text) {}

  // All elements in document order. Throws std::runtime_error.
  [[nodiscard]] std::vector<Element> read() {
    do {
      read_next();
    } while (!open_.empty());
    expect(rest_ == "\n" || rest_.empty(), "text after the root element");
    return elements_;
  }

 private:
  static void expect(bool condition, const std::string& what) {
    if (!condition) {
      throw std::runtime_error("malformed XML: " + what);
    }
  }

  // Everything up to the next of `ends`, entities resolved.
  std::string take_until(std::string_view ends) {
    const std::size_t length = rest_.find_first_of(ends);
    expect(length != std::string_view::npos, "unexpected end");
    std::string text;
    for (std::string_view raw = rest_.substr(0, length); !raw.empty();) {
      const bool control = static_cast<unsigned char>(raw.front()) < 0x20 && raw.front() != '\n';
      expect(raw.front() != '<' && raw.front() != '>' && !control, "a raw special character");
      text += raw.front() == '&' ? take_entity(raw) : std::string(1, take_byte(raw));
    }
    rest_.remove_prefix(length);
    return text;
  }

  static char take_byte(std::string_view& raw) {
    const char byte = raw.front();
    raw.remove_prefix(1);
    return byte;
  }

  static std::string take_entity(std::string_view& raw) {
    static const std::map<std::string_view, std::string> entities{
        {"&amp;", "&"}, {"&lt;", "<"}, {"&gt;", ">"}, {"&quot;", "\""}};
    const auto found = entities.find(raw.substr(0, raw.find(';') + 1));
    expect(found != entities.end(), "an unknown entity");
    raw.remove_prefix(found->first.size());
    return found->second;
  }

  void skip(std::string_view text) {
    expect(rest_.starts_with(text), "expected " + std::string(text));
    rest_.remove_prefix(text.size());
  }

  void read_next() {
    if (!open_.empty()) {
      elements_[open_.back()].text += take_until("<");
    }
    skip("<");
    if (rest_.starts_with("/")) {
      skip("/" + elements_[open_.back()].name + ">");
      open_.pop_back();
    } else {
      read_open_tag();
    }
  }

  void read_open_tag() {
    Element element{.name = take_until(" />\n"), .attributes = {}, .text = {}, .parent = -1};
    element.parent = open_.empty() ? -1 : static_cast<int>(open_.back());
    bool fresh = true;
    while (rest_.starts_with(" ")) {
      skip(" ");
      const std::string key = take_until("=");
      skip("=\"");
      fresh = element.attributes.emplace(key, take_until("\"")).second && fresh;
      skip("\"");
    }
    expect(fresh, "an attribute given twice");
    const bool empty = rest_.starts_with("/");
    skip(empty ? "/>" : ">");
    elements_.push_back(element);
    if (!empty) {
      open_.push_back(elements_.size() - 1);
    }
  }

  std::string_view rest_;
  std::vector<Element> elements_;
  std::vector<std::size_t> open_;
};

}  // namespace dualpipe
