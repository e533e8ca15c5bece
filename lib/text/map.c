/*
 * map.c: from offsets of an edited text back to its source.
 */
#include "text/text.h"

#include <assert.h>

/* The last piece that begins at `clean` or before. */
static const pith__map_piece *find_piece(const pith__text_map *map, size_t clean)
{
    size_t low = 0;
    size_t high = map->count;
    while (high - low > 1) {
        const size_t middle = low + (high - low) / 2;
        if (map->pieces[middle].clean <= clean) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return &map->pieces[low];
}

size_t pith__text_map_start(const pith__text_map *map, size_t clean)
{
    if (map->count == 0) {
        return clean;
    }
    const pith__map_piece *piece = find_piece(map, clean);
    assert(piece->start + (clean - piece->clean) <= piece->end);
    return piece->start + (clean - piece->clean);
}

size_t pith__text_map_end(const pith__text_map *map, size_t clean)
{
    if (map->count == 0 || clean == 0) {
        return clean;
    }
    const pith__map_piece *piece = find_piece(map, clean - 1);
    assert(piece < map->pieces + map->count - 1);
    return clean == piece[1].clean ? piece->end : piece->start + (clean - piece->clean);
}

pith_status pith__text_map_push(pith__text_map *map, const pith_allocator *mem, size_t clean,
                                size_t start, size_t end, pith_error *err)
{
    if (map->count == map->capacity) {
        PITH__TRY(pith__grow(mem, &map->pieces, &map->capacity, map->count + 1, sizeof *map->pieces,
                             err));
    }
    map->pieces[map->count++] = (pith__map_piece){clean, start, end};
    return PITH_OK;
}

void pith__text_map_deinit(pith__text_map *map, const pith_allocator *mem)
{
    if (map != NULL) {
        pith__free(mem, map->pieces, map->capacity, sizeof *map->pieces);
        *map = (pith__text_map){0};
    }
}
