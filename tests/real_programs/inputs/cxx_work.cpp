// Containers, threads, exceptions and every form of operator new, with one deterministic line each.
#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <future>
#include <list>
#include <map>
#include <memory>
#include <memory_resource>
#include <mutex>
#include <new>
#include <numeric>
#include <random>
#include <regex>
#include <set>
#include <sstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <unordered_map>
#include <variant>
#include <vector>

static uint64_t mix(uint64_t sum, uint64_t value) { return (sum ^ value) * 1099511628211ull; }

static uint64_t containers(unsigned seed, int size)
{
    std::mt19937 rng(seed);
    std::map<std::string, std::vector<int>> tree;
    std::unordered_map<int, std::string> table;
    std::list<std::variant<int, std::string>> list;
    std::deque<std::unique_ptr<std::string>> queue;
    std::multiset<int> set;
    uint64_t sum = 14695981039346656037ull;
    for (int n = 0; n < size; n++) {
        int r = rng() % 5000;
        tree[std::to_string(r)].push_back(n);
        table[r] += std::string(r % 40, 'a' + r % 26);
        if (r % 2) list.push_back(r); else list.push_front(std::to_string(r * 1000003ull));
        queue.push_back(std::make_unique<std::string>(r % 90, 'q'));
        if (queue.size() > 300) { sum = mix(sum, queue.front()->size()); queue.pop_front(); }
        set.insert(r);
        if (n % 7 == 0) { tree.erase(tree.begin()); table.erase(r - 1); set.erase(set.begin()); }
    }
    list.remove_if([](auto &item) { return item.index() == 0 && std::get<int>(item) % 3 == 0; });
    for (auto &[key, values] : tree) sum = mix(mix(sum, key.size()), std::accumulate(values.begin(), values.end(), 0ull));
    std::vector<std::pair<int, std::string>> sorted(table.begin(), table.end());
    std::sort(sorted.begin(), sorted.end());
    for (auto &[key, text] : sorted) sum = mix(mix(sum, key), text.size());
    return mix(mix(sum, list.size()), set.size());
}

static uint64_t passed_between_threads(int rounds)
{
    struct Node { std::string text; std::shared_ptr<Node> next; };
    std::mutex lock;
    std::vector<std::shared_ptr<Node>> shelf(64);
    std::atomic<uint64_t> sum{0};
    std::vector<std::thread> threads;
    for (int t = 0; t < 8; t++)
        threads.emplace_back([&, t] {
            std::mt19937 rng(t);
            for (int n = 0; n < rounds; n++) {
                auto node = std::make_shared<Node>();
                node->text.assign(rng() % 600, 'x');
                sum += node->text.size();
                std::shared_ptr<Node> old;
                {
                    std::lock_guard guard(lock);
                    auto &slot = shelf[rng() % shelf.size()];
                    old = std::move(slot);
                    if (n % 8) node->next = std::move(old);
                    slot = std::move(node);
                }
                int length = 0; // cut long chains; freed by a thread that made few of it
                for (auto *at = old.get(); at; at = at->next.get()) length++;
                while (old) old = std::shared_ptr<Node>(std::move(old->next));
                if (length > 1000000) std::abort();
            }
        });
    for (auto &thread : threads) thread.join();
    for (auto &slot : shelf) while (slot) slot = std::shared_ptr<Node>(std::move(slot->next));
    return sum;
}

static int exceptions(int depth)
{
    std::string local(depth * 10, 'e');
    try {
        if (depth == 0) throw std::runtime_error("thrown from the bottom, with a text too long for the small buffer");
        return exceptions(depth - 1) + static_cast<int>(local.size());
    } catch (std::exception &error) {
        if (depth % 10 == 0) throw std::runtime_error(std::string(error.what()) + "!");
        throw;
    }
}

struct alignas(64) Line { char data[192]; };
struct alignas(4096) Page { char data[4096]; };

static void operators()
{
    void *volatile sink = nullptr;
    bool good = true;
    auto aligned = [&](void *block, size_t to) { good = good && block && reinterpret_cast<uintptr_t>(block) % to == 0; };
    for (int n = 0; n < 1000; n++) {
        auto *one = new char; auto *many = new char[n]; auto *line = new Line; auto *lines = new Line[3]; auto *page = new Page;
        auto *quiet = new (std::nothrow) char[n]; auto *quiet_page = new (std::nothrow) Page;
        aligned(line, 64); aligned(lines, 64); aligned(page, 4096); aligned(quiet_page, 4096); aligned(new (one) char, 1);
        delete one; delete[] many; delete line; delete[] lines; delete page; delete[] quiet; delete quiet_page;
        void *raw = ::operator new(n, std::align_val_t(256));
        aligned(raw, 256);
        ::operator delete(raw, n, std::align_val_t(256));
    }
    std::printf("aligned %d\n", good);
    volatile size_t huge = PTRDIFF_MAX - 100;
    try { sink = ::operator new(huge); } catch (std::bad_alloc &error) { std::printf("bad_alloc %s\n", error.what()); }
    try { sink = ::operator new(huge, std::align_val_t(64)); } catch (std::bad_alloc &) { std::printf("bad_alloc aligned\n"); }
    try { std::vector<char> v(huge); } catch (std::bad_alloc &) { std::printf("bad_alloc vector\n"); }
    std::printf("nothrow %d\n", ::operator new(huge, std::nothrow) == nullptr);
    static int asked = 0;
    std::set_new_handler([] { if (++asked == 3) std::set_new_handler(nullptr); });
    try { sink = ::operator new(huge); } catch (std::bad_alloc &) { std::printf("new handler asked %d\n", asked); }
}

int main(int, char **arguments)
{
    int scale = std::atoi(arguments[1]);
    std::printf("containers %016llx\n", (unsigned long long)containers(1, 60000 * scale));
    std::vector<std::future<uint64_t>> futures;
    for (int t = 0; t < 8; t++) futures.push_back(std::async(std::launch::async, containers, t, 15000 * scale));
    for (auto &future : futures) std::printf("%016llx\n", (unsigned long long)future.get());
    std::printf("passed %llu\n", (unsigned long long)passed_between_threads(20000 * scale));
    int caught = 0;
    for (int n = 0; n < 300; n++)
        try { exceptions(60); } catch (std::exception &error) { caught += std::string(error.what()).size(); }
    std::printf("exceptions %d\n", caught);
    std::string text;
    for (int n = 0; n < 2000; n++) text += "key" + std::to_string(n) + "=value" + std::to_string(n * n) + ";";
    std::regex pattern("(\\w+)=(\\w+?)(\\d);");
    size_t found = std::distance(std::sregex_iterator(text.begin(), text.end(), pattern), std::sregex_iterator());
    std::printf("regex %zu %zu\n", found, std::regex_replace(text, pattern, "$3$1").size());
    std::pmr::unsynchronized_pool_resource pool;
    std::pmr::vector<std::pmr::string> strings(&pool);
    for (int n = 0; n < 20000; n++) strings.emplace_back(n % 200, 'p');
    std::ostringstream out;
    for (auto &string : strings) out << string.size() << ' ';
    std::printf("stream %zu\n", out.str().size());
    operators();
    return 0;
}
